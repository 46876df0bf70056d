//! Enrolment: a key gets an id, once and for ever.

use std::time::Duration;

use anyhow::bail;
use muster_core::message::{Enrol, Enrolled};
use nkeys::KeyPair;

use crate::disk::Enrolment;
use crate::link::{Access, Unanswered, ask, pause};
use crate::rules::About;

/// Asks for an id for `key` until there is an answer; the same key gets the same id. A token that is not valid looks
/// like a gateway that is not there: it is asked for again and again.
///
/// # Errors
/// When the enrolment is refused for good; the text says what to do.
pub async fn enrol(access: &Access, key: &KeyPair, name: String, about: &About) -> anyhow::Result<Enrolment> {
    let nkey = key.public_key();
    let client = access.connect(&nkey, None).await?;
    let question = Enrol { name, version: about.version.clone(), os: about.os.clone() };
    for attempt in 1.. {
        match ask::<Enrolled>(&client, format!("enrol.{nkey}"), &question).await {
            Ok(enrolled) => return Ok(Enrolment { id: enrolled.id, name: enrolled.name, deleted: false }),
            Err(why) if why.is("name-taken") => {
                bail!(
                    "another agent is called '{}'; start this one with another --name, or delete the other first",
                    question.name
                )
            }
            Err(why @ Unanswered::Refused(_)) if !why.is_temporary() => bail!("the enrolment failed: {why}"),
            Err(why) => tracing::warn!(%why, attempt, "not enrolled yet; asking again"),
        }
        tokio::time::sleep(pause(attempt, Duration::from_secs(1))).await;
    }
    bail!("the enrolment was given up")
}
