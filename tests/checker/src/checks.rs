//! The checks. Each looks at one thing and knows nothing of the others.

mod agents;
mod deeds;
mod index;
mod leftovers;
mod recipients;
mod tasks;
#[cfg(test)]
mod tests;

use crate::world::{Violation, World};

/// What must not be, sorted; empty when all is right. The world must be quiet: all faults are over, and each agent has
/// had the time for a sync.
pub fn check(world: &World) -> Vec<Violation> {
    let mut found = world.unreadable.clone();
    for (id, task) in &world.tasks {
        found.extend(tasks::check(id, task));
        found.extend(recipients::check(world, id, task));
        found.extend(deeds::check(world, id, task));
    }
    found.extend(recipients::told(world));
    found.extend(tasks::cancelled(world));
    found.extend(index::check(world, &world.agents));
    found.extend(index::check(world, &world.nodes));
    found.extend(agents::check(&world.agents, &world.accounts));
    found.extend(agents::check(&world.nodes, &world.node_accounts));
    found.extend(leftovers::check(world));
    found.sort();
    found
}
