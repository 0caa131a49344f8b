//! Reads single values: text -> value, or the rule that the text breaks. Pure, but for the look-up of a host name that
//! the caller hands in.
//!
//! Every error completes the sentence "`--flag=value` …" and names the way out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;

use super::defaults;

/// Looks a host name up, once, for a listener.
pub type LookUp = fn(&str) -> Option<IpAddr>;

/// A host and a port to dial, checked; the host may be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl HostPort {
    /// Equal for texts that name the same place.
    pub(super) fn key(&self) -> String {
        format!("{}:{}", self.host.trim_end_matches('.').to_ascii_lowercase(), self.port)
    }
}

/// The words for a boolean of Go's package `flag`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is not a boolean; write true or false".into()),
    }
}

/// A whole number between two bounds.
pub(super) fn number<N>(text: &str, min: N, max: N) -> Result<N, String>
where
    N: Copy + PartialOrd + std::fmt::Display + std::str::FromStr,
{
    let in_bounds = |number: &N| *number >= min && *number <= max;
    text.parse().ok().filter(in_bounds).ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

/// A port to dial.
pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, 1, u16::MAX)
}

/// A file mode in octal digits.
pub(super) fn file_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
    let mode = mode.ok_or("is not a file mode of octal digits from 0400 to 0775, such as 0640")?;
    if mode & 0o400 == 0 {
        return Err("gives the file's owner no right to read it; add 0400".into());
    }
    if mode & 0o002 != 0 {
        return Err("lets everybody write what Prometheus obeys; take 0002 away".into());
    }
    Ok(mode)
}

/// An `http` or `https` URL.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("is not a URL ({error}); write it like http://127.0.0.1:9090"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme {:?}; it must be http or https", url.scheme()));
    }
    Ok(url)
}

/// A base URL that this member publishes: every member sees it. Returned without a slash at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials, but every member and its status page show it; take them out".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("is no base URL; take away what follows the path".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// An address to listen on. `:port` means all addresses of both families; port 0 means any free port.
pub(super) fn listen_address(text: &str, look_up: LookUp) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = split_port(text)?;
    let port = number(port, 0, u16::MAX).map_err(|rule| format!("has a bad port: it {rule}"))?;
    if host.is_empty() {
        return Ok((Ipv6Addr::UNSPECIFIED, port).into());
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    host_name(host)?;
    let unknown =
        || format!("names the host {host:?}, which has no address here; write an IP address, or :{port} for all");
    look_up(host).map(|ip| (ip, port).into()).ok_or_else(unknown)
}

/// An address to dial.
pub(super) fn host_port(text: &str) -> Result<HostPort, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        let port = self::port(&address.port().to_string()).map_err(|rule| format!("has a bad port: it {rule}"))?;
        if address.ip().is_unspecified() {
            return Err("means all addresses, which nobody can dial; write the one of this member".into());
        }
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        return Ok(HostPort { host, port });
    }
    let (host, port) = split_port(text)?;
    let port = self::port(port).map_err(|rule| format!("has a bad port: it {rule}"))?;
    host_name(host)?;
    Ok(HostPort { host: host.to_owned(), port })
}

/// The address of a name server; without a port it is 53.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::from((ip, defaults::DNS_PORT)));
    text.parse()
        .or_else(|_| bare())
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified())
        .ok_or_else(|| "is not the address of a name server; write it like 10.96.0.10 or 10.96.0.10:53".into())
}

/// The domain name of a service, with or without a dot at its end.
pub(super) fn host_name(text: &str) -> Result<(), String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else if name.contains(':') {
        Err(format!("has the host {text:?}; an IPv6 address goes into brackets, like [::1]:9096"))
    } else {
        Err(format!("has the host {text:?}, which is not a domain name or an address"))
    }
}

/// A name of a member or of an election: it stands in headers, labels, lists and URLs.
pub(super) fn name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=253).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("is not a name of 1 to 253 letters, digits, dots, hyphens and underscores".into())
    }
}

fn split_port(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once(':').ok_or_else(|| "has no port; write it like :9095 or 127.0.0.1:9095".into())
}

/// A value as it may be shown: without the credentials that a URL may hold.
pub(super) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("//") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}//***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn nowhere(_: &str) -> Option<IpAddr> {
        None
    }

    fn listen(text: &str) -> Result<String, String> {
        listen_address(text, nowhere).map(|address| address.to_string())
    }

    #[test]
    fn booleans_are_those_of_go() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "no", "on", "tRUE", "2"] {
            assert_eq!(boolean(text), Err("is not a boolean; write true or false".into()), "{text}");
        }
    }

    #[test]
    fn listen_addresses_are_those_of_go() {
        for (text, address) in [
            (":9095", "[::]:9095"),
            (":0", "[::]:0"),
            ("0.0.0.0:9095", "0.0.0.0:9095"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:9095", "[::]:9095"),
            ("[::1]:9095", "[::1]:9095"),
            ("localhost:9095", "127.0.0.1:9095"),
        ] {
            assert_eq!(listen(text), Ok(address.into()), "{text}");
        }
        let known = listen_address("pod:9095", |_| Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(known, Ok(SocketAddr::from(([10, 0, 0, 7], 9095))));
    }

    #[test]
    fn bad_listen_addresses_say_what_to_write() {
        for (text, rule) in [
            ("9095", "has no port; write it like :9095 or 127.0.0.1:9095"),
            ("", "has no port; write it like :9095 or 127.0.0.1:9095"),
            (":", "has a bad port: it is not a whole number from 0 to 65535"),
            (":65536", "has a bad port: it is not a whole number from 0 to 65535"),
            ("::1:9095", "has the host \"::1\"; an IPv6 address goes into brackets, like [::1]:9096"),
            ("a b:1", "has the host \"a b\", which is not a domain name or an address"),
            ("pod:1", "names the host \"pod\", which has no address here; write an IP address, or :1 for all"),
        ] {
            assert_eq!(listen(text), Err(rule.into()), "{text}");
        }
    }

    #[test]
    fn addresses_to_dial_have_a_host_and_a_port() {
        for (text, host) in
            [("prom-0.prom.:9096", "prom-0.prom."), ("10.0.0.1:9096", "10.0.0.1"), ("[::1]:9096", "[::1]")]
        {
            assert_eq!(host_port(text), Ok(HostPort { host: host.into(), port: 9096 }));
        }
        for text in ["prom-0", ":9096", "prom-0:0", "10.0.0.1:0", "[::]:9096", "0.0.0.0:9096", "prom 0:9096", "a..b:1"]
        {
            assert!(host_port(text).is_err(), "{text}");
        }
        assert_eq!(host_port("Prom-0.x.:1").unwrap().key(), host_port("prom-0.x:1").unwrap().key());
    }

    #[test]
    fn a_file_mode_is_octal_and_sane() {
        for (text, mode) in [("0640", 0o640), ("640", 0o640), ("0o644", 0o644), ("0600", 0o600), ("400", 0o400)] {
            assert_eq!(file_mode(text), Ok(mode), "{text}");
        }
        for text in ["", "0o", "0648", "+640", "-640", "rw-r-----", "01777", "1000", "0240", "0666", "99999999999"] {
            assert!(file_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_http_urls_are_taken_and_published_ones_hold_no_secret() {
        assert!(http_url("http://127.0.0.1:9090/-/reload").is_ok());
        assert!(http_url("https://user:secret@prom/").is_ok());
        for text in ["", "127.0.0.1:9090", "localhost:9090/-/reload", "ftp://x/", "unix:///run/x", "http://"] {
            assert!(http_url(text).is_err(), "{text}");
        }
        assert_eq!(public_url("http://prom-0:9090/prom/"), Ok("http://prom-0:9090/prom".into()));
        for text in ["http://u:p@prom-0/", "http://prom-0/?x", "http://prom-0/#x"] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_server_is_an_address_with_53_as_its_port() {
        for (text, address) in [
            ("10.0.0.10", "10.0.0.10:53"),
            ("10.0.0.10:5353", "10.0.0.10:5353"),
            ("fd00::a", "[fd00::a]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(name_server(text).map(|address| address.to_string()), Ok(address.into()));
        }
        for text in ["", "dns", "dns:53", "10.0.0.10:0", "0.0.0.0", "10.0.0.10:dns"] {
            assert!(name_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_of_a_url_are_not_shown() {
        for (text, shown) in [
            ("http://user:secret@prom:9090/-/reload", "http://***@prom:9090/-/reload"),
            ("ftp://a@b@c/", "ftp://***@c/"),
            ("http://prom/@x", "http://prom/@x"),
            ("1s", "1s"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
