//! The server: limits, the order of the layers, and the services.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::agents::Agents;
use super::audit::Audit;
use super::authenticate::AuthenticateLayer;
use super::caller_keys::{RegistryKeys, RegistryTlsKeys};
use super::executions::Executions;
use super::exports::Exports;
use super::health;
use super::instructions::Instructions;
use super::intake_service::Intake;
use super::registry::Registry;
use super::requests::Requests;
use super::surface::Surface;
use super::v1::agent_service_server::AgentServiceServer;
use super::v1::audit_service_server::AuditServiceServer;
use super::v1::execution_service_server::ExecutionServiceServer;
use super::v1::export_service_server::ExportServiceServer;
use super::v1::instruction_service_server::InstructionServiceServer;
use super::v1::intake_service_server::IntakeServiceServer;
use super::v1::registry_service_server::RegistryServiceServer;
use super::v1::request_service_server::RequestServiceServer;
use crate::app::App;
use crate::identity::{Acceptor, AccessTokens};

/// The descriptor set of `proto/`, comments and all, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mandate.fds"));

/// An instruction is at most 64 KiB and mostly under 4 KiB; 256 of them come in one message.
const INSTRUCTION_MESSAGE: usize = 4 * 1024 * 1024;
/// A mail is at most 10 MiB.
const MAIL_MESSAGE: usize = 11 * 1024 * 1024;
const MESSAGE: usize = 4 * 1024 * 1024;
/// A chunk of an uploaded package, and what announces it.
const UPLOAD_MESSAGE: usize = 4 * 1024 * 1024;
/// Calls under way on one connection; more wait.
const CALLS: usize = 256;
/// Streams that a connection may hold open, waiting ones included.
const STREAMS: u32 = 512;
const HEADERS: u32 = 16 * 1024;
/// A peer that went away without a word is noticed within the sum of these.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// How long calls under way may go on after shutdown began.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the descriptor set for reflection does not load")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error("the server stopped")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until `shutdown` is done, and then at most [`GRACE`] longer. `audience` is the
/// `aud` that access tokens must name: the gateway's name.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    acceptor: Acceptor,
    audience: String,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let keys = Arc::new(RegistryKeys::new(app.store.clone()));
    let tokens = AccessTokens::new(audience, keys, app.clock.clone()).under(acceptor.materials().clone());
    let tls_keys = RegistryTlsKeys(app.clone());
    let closing = CancellationToken::new();
    let health = health::service(&app, &closing);
    let surface = Surface::new(app, closing.clone());

    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection = descriptors().build_v1().map_err(ServeError::Reflection)?;
    let reflection_alpha = descriptors().build_v1alpha().map_err(ServeError::Reflection)?;

    // From the socket inwards:
    let router = Server::builder()
        // 1. HTTP/2: bounds on streams and headers, and pings to peers that fell silent.
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        // 2. Calls at once on one connection: one client cannot take the process.
        .concurrency_limit_per_connection(CALLS)
        // 3. Who calls, and may they: around the router, so no method lies outside of it.
        .layer(AuthenticateLayer::new(surface.clone(), tokens, tls_keys))
        // 4. The services, each with the size of message it takes. No timeout here: streams
        //    end with the caller's token, waits have their own bound.
        .add_service(RequestServiceServer::new(Requests(surface.clone())).max_decoding_message_size(MESSAGE))
        .add_service(
            InstructionServiceServer::new(Instructions(surface.clone()))
                .max_decoding_message_size(INSTRUCTION_MESSAGE),
        )
        .add_service(
            IntakeServiceServer::new(Intake(surface.clone())).max_decoding_message_size(MAIL_MESSAGE),
        )
        .add_service(
            ExecutionServiceServer::new(Executions(surface.clone())).max_decoding_message_size(MESSAGE),
        )
        .add_service(ExportServiceServer::new(Exports(surface.clone())).max_decoding_message_size(MESSAGE))
        .add_service(AuditServiceServer::new(Audit(surface.clone())).max_decoding_message_size(MESSAGE))
        .add_service(RegistryServiceServer::new(Registry(surface.clone())).max_decoding_message_size(MESSAGE))
        .add_service(AgentServiceServer::new(Agents(surface)).max_decoding_message_size(UPLOAD_MESSAGE))
        .add_service(health)
        .add_service(reflection)
        .add_service(reflection_alpha);

    let connections = crate::identity::serve(listener, acceptor);
    let ending = closing.clone();
    let served = router.serve_with_incoming_shutdown(connections, async move {
        shutdown.await;
        // Streams would hold the door open for ever.
        ending.cancel();
    });
    tokio::select! {
        done = served => done.map_err(ServeError::Transport),
        () = async { closing.cancelled().await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!("calls were still under way when the server closed");
            Ok(())
        }
    }
}
