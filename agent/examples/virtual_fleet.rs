//! A virtual fleet by itself: `virtual_fleet <url> <count> <seconds> [offline]`.
use std::time::{Duration, Instant};
use muster_agent::fleet::{Settings, fleet};
use muster_agent::link::Access;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let access = Access { url: args[1].clone(), user: "agent".into(), password: "loopback".into() };
    let stop = CancellationToken::new();
    let mut settings = Settings { failures: 0.02, duplicates: 0.05, ..Settings::new(access, args[2].parse()?) };
    if let Some(share) = args.get(4) { settings.offline = share.parse()?; }
    let began = Instant::now();
    let fleet = fleet(settings, stop.clone()).await?;
    println!("arrived: {} online after {:?}", fleet.online(), began.elapsed());
    println!("{}", std::fs::read_to_string("/proc/self/status")?.lines().filter(|l| l.starts_with("VmRSS")).collect::<String>());
    tokio::time::sleep(Duration::from_secs(args[3].parse()?)).await;
    println!("back: {}", { fleet.come_online().await; fleet.online() });
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (task, count) in fleet.counts() { println!("{task} {count:?}"); }
    println!("{:?}", fleet.state(&fleet.ids()[0]));
    println!("{}", std::fs::read_to_string("/proc/self/status")?.lines().filter(|l| l.starts_with("VmRSS")).collect::<String>());
    stop.cancel();
    Ok(())
}
