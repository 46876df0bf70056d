//! The server in a container.

use anyhow::{Context, Result};
use testcontainers::{
    ContainerAsync, ContainerRequest, CopyDataSource, GenericImage, ImageExt,
    bollard::query_parameters::KillContainerOptionsBuilder,
    core::{IntoContainerPort, client::docker_client_instance},
    runners::AsyncRunner,
};

use super::{VERSION, Variables, root};

const IMAGE: &str = "nats";

#[derive(Debug)]
pub(super) struct Container(Box<ContainerAsync<GenericImage>>);

impl Container {
    pub(super) async fn start(port: u16, variables: Variables) -> Result<Self> {
        let configuration = std::fs::read(root().join("nats/server.conf"))?;
        let image = GenericImage::new(IMAGE, VERSION)
            .with_copy_to("/nats.conf", CopyDataSource::Data(configuration))
            .with_cmd(["-c", "/nats.conf", "-a", "0.0.0.0", "-sd", "/data"])
            .with_label("muster", "testkit")
            // Chosen here: a port that Docker chooses may be another after a restart.
            .with_mapped_port(port, 4222.tcp())
            .with_host_config_modifier(|host| {
                let bindings = host.port_bindings.iter_mut().flat_map(|map| map.values_mut());
                for binding in bindings.flatten().flatten() {
                    binding.host_ip = Some("127.0.0.1".to_owned());
                }
            });
        let with =
            |image: ContainerRequest<GenericImage>, (name, value): (String, String)| image.with_env_var(name, value);
        let container = variables.into_iter().fold(image, with).start().await?;
        Ok(Self(Box::new(container)))
    }

    pub(super) async fn kill(&self) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let docker = docker_client_instance().await?;
        docker.kill_container(self.0.id(), Some(options)).await?;
        while self.0.is_running().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(super) async fn stop(&self) -> Result<()> {
        Ok(self.0.stop_with_timeout(Some(30)).await?)
    }

    pub(super) async fn restart(&self) -> Result<()> {
        if self.0.is_running().await? {
            self.stop().await?;
        }
        Ok(self.0.start().await?)
    }
}

/// Whether a container can be had; the error says why not.
pub(super) async fn available() -> Result<()> {
    let engine = async { anyhow::Ok(docker_client_instance().await?.ping().await?) };
    engine.await.context("no Docker engine answers (deploy/get-docker)")?;
    let image = format!("{IMAGE}:{VERSION}");
    docker_client_instance()
        .await?
        .inspect_image(&image)
        .await
        .with_context(|| format!("there is no image {image} (deploy/build-nats-image)"))?;
    Ok(())
}
