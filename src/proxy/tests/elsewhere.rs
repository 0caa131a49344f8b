//! Leaders whose names DNS does not tell, or tells falsely.

use std::net::IpAddr;

use super::*;

/// A name that no DNS server knows (RFC 2606).
const NAME: &str = "p-1.invalid";

impl Sidecar {
    /// Makes `p-1` the leader, which the group has found at an address.
    fn lead_found(&self, port: u16, found_at: &str) {
        let (raft_address, prometheus_url) = (format!("{NAME}:9096"), format!("http://{NAME}:{port}"));
        let member = Member { name: "p-1".into(), raft_address, prometheus_url, ..Member::default() };
        let found_at: IpAddr = found_at.parse().unwrap();
        let leader = Leader { id: NodeId(1), is_self: false, member, found_at: Some(found_at) };
        let leadership = Leadership { term: 2, leader: Some(Arc::new(leader)), authority: Authority::None };
        self.leadership.send_replace(leadership);
    }
}

#[tokio::test]
async fn the_leader_is_asked_where_the_group_found_it_and_the_name_stays_in_host() {
    let prometheus = Prometheus::start(|_, mut conn| async move {
        let head = conn.head().await;
        conn.write(&ok(&head)).await;
    })
    .await;
    let sidecar = Sidecar::start(LONG, None).await;
    sidecar.lead_found(prometheus.address.port(), "127.0.0.1");
    let (_, head) = sidecar.ask("GET / HTTP/1.0\r\n\r\n").await;
    let host = format!("host: {NAME}:{}", prometheus.address.port());
    assert!(header_lines(&head).contains(&host.as_str()), "{head}");
}

/// A pod that came back with another address: what hangs at the old one is asked again, and no connection is kept to it.
#[tokio::test]
async fn a_leader_that_is_found_elsewhere_is_asked_there() {
    let old = Prometheus::silent().await;
    let new: SocketAddr = ([127, 0, 0, 2], old.address.port()).into();
    let _new = Prometheus::start_at(new, |_, mut conn| async move {
        conn.head().await;
        conn.write(&ok("new")).await;
    })
    .await;
    let sidecar = Sidecar::start(LONG, None).await;
    sidecar.lead_found(old.address.port(), "127.0.0.1");
    let (answer, ()) = tokio::join!(sidecar.ask(get("/")), async {
        old.is_asked().await;
        sidecar.lead_found(old.address.port(), "127.0.0.2");
    });
    assert_eq!(answer.1, "new");
}

#[tokio::test]
async fn an_error_names_the_address_that_was_tried() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let sidecar = Sidecar::start(SHORT, None).await;
    sidecar.lead_found(free, "127.0.0.1");
    let (head, body) = sidecar.ask(get("/")).await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert!(body.contains(&format!("at http://{NAME}:{free} (127.0.0.1) could not be reached")), "{body}");
}
