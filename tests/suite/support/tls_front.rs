//! TLS before a plain server on loopback: certificates of the tests' own making, every byte counted, the line cut on demand.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Somebody whom others may trust.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What a PC keeps in its bundle.
    pub(crate) pem: String,
}

/// A certificate: for which host, and from which year to which.
#[derive(Clone, Copy)]
pub(crate) struct Certificate {
    pub(crate) host: &'static str,
    pub(crate) years: (i32, i32),
}

impl Default for Certificate {
    fn default() -> Self {
        Self { host: "localhost", years: (2020, 2090) }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(1990, 1, 1), date_time_ymd(2095, 1, 1));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn config(&self, certificate: Certificate) -> ServerConfig {
        let mut params = CertificateParams::new(vec![certificate.host.to_owned()]).unwrap();
        let (first, last) = certificate.years;
        (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth();
        config.with_single_cert(vec![signed.der().clone()], key).unwrap()
    }
}

/// Takes TLS off, and passes on to a plain server, until dropped.
pub(crate) struct TlsFront {
    address: SocketAddr,
    wire: Arc<Wire>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Default)]
struct Wire {
    /// Bytes either way, as they pass the socket.
    bytes: AtomicU64,
    num_connections: AtomicU64,
    /// At so many bytes the line goes down once; 0 means never.
    cut_at_bytes: AtomicU64,
}

impl TlsFront {
    /// Listens on a free port of loopback.
    pub(crate) fn new(authority: &Authority, certificate: Certificate, target: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.config(certificate)));
        let (wire, (stop, stopped)) = (Arc::<Wire>::default(), oneshot::channel());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&wire);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, acceptor, target, shared) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, wire, stop: Some(stop), thread: Some(thread) }
    }

    /// `https://localhost:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// What passed the sockets either way: handshakes and records in.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.wire.bytes.load(Ordering::SeqCst)
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> u64 {
        self.wire.num_connections.load(Ordering::SeqCst)
    }

    /// Cuts the connection, with no word of TLS, once so many bytes more have passed.
    pub(crate) fn cut_after(&self, count: u64) {
        self.wire.cut_at_bytes.store(self.wire_bytes() + count, Ordering::SeqCst);
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, target: SocketAddr, wire: Arc<Wire>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        wire.num_connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, wire) = (acceptor.clone(), Arc::clone(&wire));
        tokio::spawn(async move {
            // Whoever does not trust the certificate leaves in the handshake.
            let Ok(mut client) = acceptor.accept(Counted { stream: client, wire }).await else { return };
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// A socket whose bytes are counted.
struct Counted {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Counted {
    fn count(&self, count: usize) -> io::Result<()> {
        let now = self.wire.bytes.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
        let cut_at = self.wire.cut_at_bytes.load(Ordering::SeqCst);
        if cut_at == 0 || now < cut_at {
            return Ok(());
        }
        self.wire.cut_at_bytes.store(0, Ordering::SeqCst);
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(self.count(buffer.filled().len() - before)),
            other => other,
        }
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(count)) => Poll::Ready(self.count(count).map(|()| count)),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
