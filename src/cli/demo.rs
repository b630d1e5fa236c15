//! `onefive demo`: everything on one page, with nothing else needed. The database is thrown away at the end.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::serve::told_to_stop;
use super::{Failure, key, log};
use crate::app::{App, Parts};
use crate::clock::random;
use crate::config::{Config, LogFormat, Source};
use crate::domain::desk::{DeskSettings, KeyText, Scope};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The port to listen on; without it 8080, or a free one if that is taken
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    log("warn", LogFormat::Text)?;
    let parts = Parts::system();
    let folder = std::env::temp_dir().join(format!(
        "onefive-demo-{}",
        hex::encode(random::<8>(parts.entropy.as_ref()))
    ));
    let told = told_to_stop()?;
    std::fs::create_dir(&folder)?;
    let result = show(arguments, &folder, parts, told).await;
    // Also when something failed: nothing of the demo stays.
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn show(
    arguments: &Arguments,
    folder: &std::path::Path,
    parts: Parts,
    told_to_stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let port = match arguments.port {
        Some(port) => port,
        None => free_port()?,
    };
    // The page gets the key with its settings, so the key is made before the service and stored once there is a store.
    let text = KeyText::new(random(parts.entropy.as_ref()));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let database = folder.join("demo.db");
    let set = |name: &str, value: String| (format!("ONEFIVE_{name}"), value);
    let environment = [
        set("SERVER__PUBLIC_URL", format!("http://{address}")),
        set("SERVER__PUBLIC", address.to_string()),
        set("SERVER__API", address.to_string()),
        set("SERVER__ADMIN", address.to_string()),
        set("DATABASE__URL", format!("sqlite:{}", database.display())),
        set("CHANNELS__SMS", "sandbox".to_owned()),
        set("CHANNELS__VOICE", "sandbox".to_owned()),
        set("CHANNELS__EMAIL", "sandbox".to_owned()),
        set("PROVIDERS__SANDBOX__API_KEY", text.expose().to_owned()),
    ];
    let config = Config::load(&Source {
        file: None,
        environment: environment.into_iter().collect(),
    })?;
    let app = App::start(&config, parts.clone()).await?;
    let added = app
        .journey
        .store
        .add_desk(
            "demo",
            "Northwind IT",
            &DeskSettings::permissive(),
            parts.clock.now(),
        )
        .await?;
    let desk =
        added.ok_or_else(|| Failure::Refused("the throw-away database is not empty".to_owned()))?;
    let (_, mut row) = key::new_key(
        desk.id,
        vec![Scope::Send, Scope::Read, Scope::Metrics],
        &parts,
    );
    text.handle().clone_into(&mut row.handle);
    row.hash = text.hash();
    app.journey.store.add_key(&row).await?;

    print_hints(&format!("http://{}", app.public), text.expose());
    told_to_stop.await;
    app.stop().await;
    println!("\nThe demo is over; its database is gone.");
    Ok(())
}

fn print_hints(url: &str, key: &str) {
    println!(
        "onefive demo: all devices are pretend, and everything is thrown away at the end (Ctrl-C).\n"
    );
    println!("  Open this   {url}/sandbox");
    println!("  Board       {url}/board  (sign in with the key below)");
    println!("  API         {url}/docs");
    println!("  Metrics     {url}/metrics");
    println!("  API key     {key}\n");
    println!(
        "  Nobody is spared: caps, quiet hours and countries are off (PUT /v1/desk sets them).\n"
    );
    println!("  Or ask by hand, and answer on the page:");
    println!(
        "  curl -s {url}/v1/requests -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\"
    );
    println!(
        "    -d '{{\"channel\":\"sms\",\"to\":\"+14155550100\",\"conversation\":\"INC-1\",\"agent\":{{\"name\":\"Sam\"}}}}'\n"
    );
}

fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}
