//! Traces for an OpenTelemetry collector, over HTTP.
//!
//! All that is done for one change is one trace, however many hours and starts of the gateway lie
//! between: its number is the trace's. What an agent says of traces (`traceparent`) is not read.
//!
//! What a collector does not take at once is gone, and counted: nothing is sent twice. The exporter's
//! own retries would put a thread of the gateway's runtime to sleep.

use countermand_core::digest::Digest;
use countermand_core::name::InstallationName;
use countermand_engine::WebError;
use countermand_engine::trace::{Step, What};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Spans in one request.
const BATCH: usize = 256;
/// A collector that has not answered by then is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of its answer.
const LONGEST: usize = 64 * 1024;

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// No web server can be asked.
    #[error(transparent)]
    Web(#[from] WebError),
    /// What is configured makes no exporter.
    #[error("cannot send traces: {0}; look at `[telemetry]` and at `OTEL_…` in the environment")]
    Exporter(String),
}

/// Sends what ended, until it is stopped.
pub(crate) struct Telemetry {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Telemetry {
    /// Begins to send these steps to the address; `lost` is told how many it did not take.
    ///
    /// # Errors
    /// [`TelemetryError`]. A collector that is away is none.
    pub(crate) fn start(
        address: String,
        installation: &InstallationName,
        steps: Receiver<Step>,
        lost: impl Fn(usize) + Send + 'static,
    ) -> Result<Telemetry, TelemetryError> {
        let client = Client(countermand_engine::web_client()?);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(address)
            .with_timeout(PATIENCE)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "countermand"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", installation.to_string()),
        ]);
        exporter.set_resource(&resource.build());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(send(exporter, installation.clone(), steps, lost, stopped));
        Ok(Telemetry { stop, task })
    }

    /// Sends what is left, for a moment.
    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        // Whoever does not answer is not waited for.
        let _ = tokio::time::timeout(PATIENCE, self.task).await;
    }
}

async fn send(
    exporter: SpanExporter,
    installation: InstallationName,
    mut steps: Receiver<Step>,
    lost: impl Fn(usize),
    mut stopped: watch::Receiver<bool>,
) {
    let (mut closing, mut away) = (false, false);
    loop {
        let mut batch = Vec::new();
        let count = tokio::select! {
            biased;
            count = steps.recv_many(&mut batch, BATCH) => count,
            _ = stopped.wait_for(|stop| *stop), if !closing => {
                // Closed, it gives what is left, and then nothing.
                steps.close();
                closing = true;
                continue;
            }
        };
        if count == 0 {
            return;
        }
        let spans = batch.iter().map(|step| span(&installation, step)).collect();
        let sent = exporter.export(spans).await;
        if sent.is_err() {
            lost(count);
        }
        match (&sent, away) {
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            (Err(error), false) => {
                tracing::warn!(%error, "traces are not taken, and are lost meanwhile");
            }
            _ => {}
        }
        away = sent.is_err();
    }
}

/// The span of a step. The trace, and the span of the proposal, are the change's own: whatever comes
/// later finds them, in whatever process.
fn span(installation: &InstallationName, step: &Step) -> SpanData {
    let named = format!("countermand-trace-v1\n{installation}\n{}", step.change);
    let hex = Digest::of_bytes(named.as_bytes()).to_string();
    let trace = TraceId::from_hex(&hex[..32]).unwrap_or(TraceId::INVALID);
    let root = SpanId::from_hex(&hex[32..48]).unwrap_or(SpanId::INVALID);
    let (own, parent) = match step.what {
        What::Propose => (root, SpanId::INVALID),
        _ => (SpanId::from_bytes(rand::random()), root),
    };
    let attributes = vec![
        KeyValue::new("countermand.change", i64::try_from(step.change.0).unwrap_or(i64::MAX)),
        match step.agent.human() {
            Some(human) => KeyValue::new("countermand.human", human.to_string()),
            None => KeyValue::new("countermand.agent", step.agent.to_string()),
        },
        KeyValue::new("countermand.target", step.target.to_string()),
    ];
    SpanData {
        span_context: SpanContext::new(trace, own, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: step.what.name().into(),
        start_time: step.began,
        end_time: step.ended,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if step.ok { Status::Ok } else { Status::error("") },
        instrumentation_scope: InstrumentationScope::builder("countermand")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// Posts what the exporter wrote.
#[derive(Debug)]
struct Client(reqwest::Client);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request: reqwest::Request = request.try_into()?;
        *request.timeout_mut() = Some(PATIENCE);
        let mut answer = self.0.execute(request).await?;
        let response = Response::builder().status(answer.status());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err("the collector's answer is longer than one has to be".into());
            }
        }
        Ok(response.body(body.into())?)
    }
}

#[cfg(test)]
mod tests;
