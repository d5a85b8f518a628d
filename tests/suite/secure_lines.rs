//! https against a real TLS server: certificates, broken lines, what it costs, hubs that send their readers elsewhere.

use localml::digest::Sha256;

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::tls_front::{Authority, Certificate, TlsFront};

const MIB: usize = 1 << 20;

/// A registry with one model of 8 MiB behind TLS, and a PC that trusts the authority.
struct Hub {
    sandbox: Sandbox,
    authority: Authority,
    server: HttpServer,
    /// Where the server has the model.
    weights: String,
    fingerprint: String,
}

impl Hub {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let publisher = Publisher::new(&sandbox, "ngo");
        publisher.add("model", "1.0.0", &[("weights.bin", &noise(1, 8 * MIB))]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        let (weights, fingerprint) = (publisher.path_of(8 * MIB as u64), publisher.fingerprint());
        drop(publisher);
        let authority = Authority::new("an authority");
        sandbox.write("authority.pem", &authority.pem);
        Self { sandbox, authority, server, weights, fingerprint }
    }

    fn front(&self, certificate: Certificate) -> TlsFront {
        TlsFront::new(&self.authority, certificate, self.server.address())
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.sandbox.command("home");
        command.args(args).env("SSL_CERT_FILE", self.sandbox.path("authority.pem"));
        Run::from(command.env_remove("SSL_CERT_DIR").output().unwrap())
    }

    fn add(&self, url: &str) -> Run {
        self.run(&["registry", "add", "ngo", url, "--fingerprint", &self.fingerprint])
    }
}

#[test]
fn a_line_with_tls_that_breaks_is_taken_up_where_it_broke() {
    let hub = Hub::new();
    let front = hub.front(Certificate::default());
    assert_eq!(hub.add(&front.url()).code, Some(0));
    let before = front.wire_bytes();
    front.cut_after(3 * MIB as u64);
    let run = hub.run(&["fetch", "model"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let sent_bytes = front.wire_bytes() - before;
    assert!(sent_bytes < 8 * MIB as u64 + MIB as u64, "{sent_bytes} bytes for 8 MiB, cut off once");
    assert!(hub.server.log().iter().any(|request| request.status == 206), "it went on with a range");
    assert_eq!(hub.run(&["verify", "model"]).code, Some(0));
}

#[test]
fn what_tls_adds_is_paid_for_too() {
    let hub = Hub::new();
    let front = hub.front(Certificate::default());
    assert_eq!(hub.add(&front.url()).code, Some(0));
    let before = front.wire_bytes();
    let said = hub.run(&["fetch", "model", "--budget", "5MB"]).failed_with(6);
    assert!(said.contains("--new-budget"), "{said}");
    let passed_bytes = front.wire_bytes() - before;
    assert!((4_700_000..=5_000_000).contains(&passed_bytes), "{passed_bytes} bytes passed of 5 MB");
}

#[test]
fn a_certificate_that_does_not_hold_is_named_and_asked_once() {
    let hub = Hub::new();
    let stranger = Authority::new("a stranger");
    let here = Certificate::default();
    for (front, word) in [
        (TlsFront::new(&stranger, here, hub.server.address()), "signed by nobody whom this PC trusts"),
        (hub.front(Certificate { years: (2020, 2021), ..here }), "expired by this PC's clock, which says 20"),
        (hub.front(Certificate { years: (2085, 2090), ..here }), "not valid yet"),
        (hub.front(Certificate { host: "hub.example", ..here }), "belongs to another host"),
    ] {
        let said = hub.add(&front.url()).failed_with(5);
        assert!(said.contains(word) && said.contains("this PC's clock"), "{word}: {said}");
        assert_eq!((front.connections(), hub.server.requests()), (1, 0), "{word}");
    }
    let front = hub.front(here);
    assert_eq!(hub.add(&front.url()).code, Some(0));
}

#[test]
fn a_hub_that_announces_another_file_is_left_before_its_first_byte() {
    let hub = Hub::new();
    let front = hub.front(Certificate::default());
    assert_eq!(hub.add(&front.url()).code, Some(0));
    // The hub sends its readers to another host, and says which file lies there.
    let right = noise(1, 8 * MIB);
    hub.sandbox.write("cdn/blob", &right);
    let cdn = HttpServer::serve(&hub.sandbox.path("cdn"));
    let cdn_front = TlsFront::new(&hub.authority, Certificate::default(), cdn.address());
    hub.server.set_fault(&hub.weights, Fault::Redirect(format!("{}/blob?signed=1", cdn_front.url())));
    hub.server.set_header(&hub.weights, format!("X-Linked-ETag: \"{}\"", Sha256::of(b"a later one")));
    let said = hub.run(&["fetch", "model"]).failed_with(4);
    assert!(said.contains("now has another `weights.bin`"), "{said}");
    assert!(said.contains("localml update") && !said.contains("signed=1"), "{said}");
    assert_eq!(cdn_front.connections(), 0, "nobody went where the other file lies");
    hub.server.set_header(&hub.weights, format!("X-Linked-ETag: \"{}\"", Sha256::of(&right)));
    assert_eq!(hub.run(&["fetch", "model"]).code, Some(0));
}
