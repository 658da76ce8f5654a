use std::{env::var, error::Error, time::Duration};

use async_nats::{HeaderMap, Request};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nc = async_nats::connect(var("NATS_URL")?).await?;
    let job = format!("tenant.{}.job.{}", var("MILEPOST_TENANT")?, var("MILEPOST_JOB")?);
    let tell = |event: String| nc.publish(format!("{job}.progress"), event.into());

    tell(r#"{"status":"running","name":"Import in Rust"}"#.into()).await?;
    for rows in (1000..=5000).step_by(1000) {
        tell(format!(
            r#"{{"nodeId":1,"nodeName":"DB Input","status":"running","rowCount":{rows},"message":"Processing rows..."}}"#
        ))
        .await?;
        tokio::time::sleep(Duration::from_millis(100)).await; // the work
    }
    tell(r#"{"nodeId":1,"status":"completed"}"#.into()).await?;
    tell(r#"{"kind":"log","message":"a row had no date"}"#.into()).await?;

    let mut once = HeaderMap::new();
    once.insert("Nats-Expected-Last-Subject-Sequence", "0");
    let end = Request::new().headers(once).payload(r#"{"status":"completed"}"#.into());
    nc.send_request(format!("{job}.end.1"), end).await?;
    Ok(())
}
