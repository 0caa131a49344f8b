//! Binding of a listener. `[::]` takes IPv4 and IPv6 whatever the host's `bindv6only` says, and IPv4 alone where the
//! host has no IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Binds, and tells the address with the port that the system chose.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = match bind_exactly(address) {
        Err(error) if address.ip() == IpAddr::from([0_u16; 8]) && lacks_ipv6(&error) => {
            let fallback = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::info!(%address, listening_on = %fallback, "this host has no IPv6: listening on IPv4 alone");
            bind_exactly(fallback)?
        }
        outcome => outcome?,
    };
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.ip() == IpAddr::from([0_u16; 8]) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restarted sidecar must get its port back while connections of the old one are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    [Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT, Errno::ADDRNOTAVAIL].into_iter().any(|lack| errno == Some(lack))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn an_unspecified_ipv6_address_takes_both_families() {
        let (listener, bound) = bind("[::]:0".parse().unwrap()).unwrap();
        for loopback in ["127.0.0.1", "::1"] {
            let target = SocketAddr::new(loopback.parse().unwrap(), bound.port());
            TcpStream::connect(target).await.unwrap_or_else(|error| panic!("{target}: {error}"));
            listener.accept().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_also_for_an_unspecified_address() {
        let (_first, bound) = bind("[::]:0".parse().unwrap()).unwrap();
        let error = bind(bound).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn only_a_lack_of_ipv6_leads_to_ipv4() {
        assert!(lacks_ipv6(&Errno::AFNOSUPPORT.into()));
        assert!(lacks_ipv6(&Errno::ADDRNOTAVAIL.into()));
        assert!(!lacks_ipv6(&Errno::ADDRINUSE.into()));
        assert!(!lacks_ipv6(&Errno::ACCESS.into()));
    }
}
