#![allow(missing_docs, clippy::unwrap_used, dead_code)]
mod rig;
use muster_core::message::ReportStatus::Success;
use rig::{Rig, result};
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
#[tokio::test(flavor = "multi_thread")]
async fn measure() {
    let rig = Rig::start().await;
    let n = 100_000u32;
    let recipients: Vec<u32> = (0..n).collect();
    rig.admit("t", 3600, 3600).await;
    rig.freeze("t", &recipients).await;
    for (i, page) in recipients.chunks(900).enumerate() {
        rig.page("t", i as u32, page).await;
    }
    rig.publish(rig::shuffled(recipients.iter().map(|n| result("t", *n, Success)).collect())).await;
    for _ in 0..1 {
        let (c, t) = (cpu(), std::time::Instant::now());
        let copy = rig.collector().await;
        rig.until("t", |s| s.ended.is_some()).await;
        println!("cpu {:.2} s, wall {:?}, {:.2} us per result", cpu() - c, t.elapsed(), (cpu() - c) * 1e6 / f64::from(n));
        rig.all_acked().await;
        println!("with acks: cpu {:.2} s, wall {:?}, {:.2} us per result", cpu() - c, t.elapsed(), (cpu() - c) * 1e6 / f64::from(n));
        copy.finish().await;
    }
}
