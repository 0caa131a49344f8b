//! The renderer as a whole: limits, small stacks, and properties of any input.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::tree::View;
use super::*;
use crate::render::parse::parse;

fn message(source: &str) -> String {
    render(source.as_bytes()).expect_err("refused").to_string()
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("follower: {{a: {}x{}}}\n", open.repeat(levels), close.repeat(levels))
}

/// Runs on a stack that recursion of a thousand levels would overflow.
fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap()
}

#[test]
fn a_leader_section_that_is_absent_empty_or_null_gives_the_follower_configuration() {
    for leader in ["", "leader:\n", "leader: ~\n", "leader: {}\n"] {
        let rendered = render(format!("follower: {{a: 1}}\n{leader}").as_bytes()).unwrap();
        assert_eq!(rendered.variant(Role::Leader), "a: 1\n");
        assert!(rendered.is_role_independent());
    }
    let rendered = render(b"follower: {a: 1}\nleader: {a: 2}\n").unwrap();
    assert_eq!((&rendered.follower[..], &rendered.leader[..]), (&b"a: 1\n"[..], &b"a: 2\n"[..]));
    assert!(!rendered.is_role_independent());
}

#[test]
fn an_override_that_changes_nothing_shares_the_bytes_of_the_follower() {
    let rendered = render(b"follower: {a: 1}\nleader: {a: 1}\n").unwrap();
    assert_eq!(rendered.follower.as_ptr(), rendered.leader.as_ptr());
}

#[test]
fn a_thousand_levels_work_on_a_small_stack_and_one_more_is_an_error_with_its_place() {
    on_small_stack(|| {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]")] {
            let levels = DEPTH_MAX / (1 + usize::from(open.len() > 4));
            let source = nested(open, close, levels);
            let both = format!("{source}leader: {}", &source["follower: ".len()..]);
            let both = both.replace('x', "{x: 1}").replacen("{x: 1}", "{y: 1}", 1);
            let refused = render(both.as_bytes()).expect_err("the braces of x are one level too many");
            assert_eq!(refused.kind, RenderErrorKind::TooDeep);
            assert!(refused.position.is_some());
            assert!(render(source.as_bytes()).is_ok());
        }
        let merged = nested("{a: ", "}", DEPTH_MAX);
        let both = format!("{merged}leader: {}", merged["follower: ".len()..].replace('x', "y"));
        let rendered = render(both.as_bytes()).unwrap();
        assert!(rendered.leader.ends_with(b"a: y\n"));
    });
}

#[test]
fn block_style_nests_as_deep_as_flow_style() {
    on_small_stack(|| {
        let block = |levels: usize| {
            let mut source = "follower:\n".to_owned();
            for level in 1..=levels + 1 {
                writeln!(source, "{}a:", " ".repeat(level)).unwrap();
            }
            source
        };
        assert!(render(block(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(render(block(DEPTH_MAX + 1).as_bytes()).unwrap_err().kind, RenderErrorKind::TooDeep);
    });
}

#[test]
fn megabytes_of_opening_brackets_are_refused_at_once() {
    on_small_stack(|| {
        for pattern in ["[", "{a: ", "[{a: ", "- ", "? ", ": ", "[-,"] {
            let source = pattern.repeat(2_000_000 / pattern.len());
            assert_eq!(render(source.as_bytes()).unwrap_err().kind, RenderErrorKind::TooDeep, "{pattern}");
        }
    });
}

#[test]
fn one_long_string_by_many_short_aliases_is_refused() {
    let source = format!("follower:\n  a: &a '{}'\n  b: [{}]\n", "x".repeat(1 << 20), "*a , ".repeat(1000));
    assert_eq!(
        message(&source),
        "line 3, column 322: aliases expand the file to more than 67108864 bytes here (never more than 67108864, nor a \
         hundredfold): write fewer or smaller aliases"
    );
}

#[test]
fn a_mapping_merged_a_thousand_times_is_refused() {
    let mut source = "follower:\n  a: &a {".to_owned();
    (0..2_000).for_each(|key| write!(source, "k{key}: 1, ").unwrap());
    source.push_str("}\n");
    (0..1000).for_each(|key| writeln!(source, "  m{key}: {{<<: *a}}").unwrap());
    let refused = render(source.as_bytes()).unwrap_err();
    assert!(matches!(refused.kind, RenderErrorKind::AliasExpansion { .. }), "{refused}");
}

#[test]
fn honest_use_of_aliases_is_not_refused() {
    let mut source = "follower:\n  shared: &shared\n".to_owned();
    (0..50)
        .for_each(|rule| writeln!(source, "  - {{source_labels: [a], regex: 'rule {rule}', action: keep}}").unwrap());
    source.push_str("  scrape_configs:\n");
    (0..500).for_each(|job| writeln!(source, "  - {{job_name: j{job}, relabel_configs: *shared}}").unwrap());
    assert!(render(source.as_bytes()).unwrap().follower.len() > 1_000_000);
}

#[test]
fn indentation_that_multiplies_is_refused_before_it_fills_the_memory() {
    let source = format!("follower: {{a: {}{}{}}}\n", "[".repeat(999), "1,".repeat(40_000), "]".repeat(999));
    assert!(message(&source).starts_with("the follower configuration has more than 67108864 bytes once rendered"));
}

#[test]
fn too_many_keys_and_values_are_refused() {
    let text = format!("follower: {{a: [{}]}}\n", "1,".repeat(1000));
    let source = Source::new(text.as_bytes()).unwrap();
    assert_eq!(parse(&source, 999).unwrap_err().kind, RenderErrorKind::TooManyNodes { limit: 999 });
    assert!(parse(&source, 2000).is_ok());
}

#[test]
fn messages_never_quote_a_value() {
    for source in [
        "follower: {password: !!int hunter2}",
        "follower: {password: *hunter2 }",
        "follower: {password: &hunter2: }",
        "follower: {password: @hunter2}",
        "follower: {password: [hunter2:]}",
        "follower:\n  password: a: hunter2",
        "follower: {password: \"hunter2\\q\"}",
        "follower: {password: !hunter2!x}",
        "follower: {a: {password: hunter2}}\nleader: {a: [hunter2]}",
        "follower: hunter2",
        "hunter2",
    ] {
        assert!(!message(source).contains("hunter2"), "{}", message(source));
    }
    let rendered = render(b"follower: {a: [hunter2]}\nleader: {a: hunter2}").unwrap();
    assert!(!rendered.warnings[0].contains("hunter2"));
}

/// A tree as plain data, to compare two of them: (kind, text, form), children.
#[derive(Debug, PartialEq)]
enum Plain {
    Scalar(String),
    Sequence(Vec<Plain>),
    Mapping(Vec<(Plain, Plain)>),
}

/// What Go sees of a scalar: its value by type, and its text unless that is null.
fn plain(tree: &Tree<'_>, node: NodeId) -> Plain {
    match tree.view(node) {
        View::Scalar(scalar) if resolve::is_null(scalar) => Plain::Scalar("null".to_owned()),
        View::Scalar(scalar) => Plain::Scalar(format!("{:?} {:?}", scalar.text, resolve::Value::of(scalar))),
        View::Sequence(items) => Plain::Sequence(items.iter().map(|&item| plain(tree, item)).collect()),
        View::Mapping(pairs) => {
            Plain::Mapping(pairs.iter().map(|&(key, below)| (plain(tree, key), plain(tree, below))).collect())
        }
    }
}

fn read_back(text: &str) -> Plain {
    let source = Source::new(text.as_bytes()).unwrap();
    let (tree, root) = parse(&source, NODES_MAX).unwrap();
    plain(&tree, root.unwrap())
}

/// Source text of scalars of every style; hard ones often.
fn scalar() -> impl Strategy<Value = String> {
    let words = proptest::sample::select(vec![
        "a",
        "yes",
        "0777",
        "1:30",
        "1e3",
        "null",
        "~",
        "''",
        "\"\"",
        ".5_1",
        "0x1F",
        "'0777'",
        "2001-01-01",
        "!!str 1",
        "!!int '1'",
        "!!binary aGk=",
        "!x y",
        "-x",
        "a b",
        "a#b",
        "http://h:1/p",
        "'{{ $x }}'",
        "<<",
        "=",
        "-1",
        "+.inf",
    ])
    .prop_map(str::to_owned);
    let single = "[^\\p{Cc}\\u{2028}\\u{2029}\\u{feff}\\u{fffe}\\u{ffff}']{0,12}".prop_map(|text| format!("'{text}'"));
    let double = proptest::collection::vec(any::<char>(), 0..8).prop_map(|text| {
        let escaped = text.into_iter().fold(String::new(), |mut escaped, c| {
            write!(escaped, "\\U{:08x}", u32::from(c)).unwrap();
            escaped
        });
        format!("\"{escaped}\"")
    });
    prop_oneof![words, single, double]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{} ]", items.join(" , "))),
            proptest::collection::vec((scalar(), inner), 0..5).prop_map(|pairs| {
                let pairs =
                    pairs.iter().enumerate().map(|(at, (key, value))| format!("k{at}: {value} , {key} : {at} "));
                format!("{{{} }}", pairs.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_emitted_reads_back_as_the_same_tree(value in value()) {
        let text = format!("a: {value}\n");
        let source = Source::new(text.as_bytes()).unwrap();
        // Random keys may collide or be `<<`: then there is nothing to emit.
        if let Ok((tree, Some(root))) = parse(&source, NODES_MAX) {
            let emitted = emit::emit(&tree, root, 0).unwrap();
            let emitted = std::str::from_utf8(&emitted).unwrap();
            prop_assert_eq!(read_back(emitted), plain(&tree, root), "{}", emitted);
        }
    }

    #[test]
    fn rendering_its_own_output_again_changes_nothing(value in value()) {
        if let Ok(first) = render(format!("follower:\n  a: {value}\n").as_bytes()) {
            let again = std::str::from_utf8(&first.follower).unwrap();
            let indented = again.trim_end().replace('\n', "\n  ");
            let second = render(format!("follower:\n  {indented}\n").as_bytes()).unwrap();
            prop_assert_eq!(first.follower, second.follower);
        }
    }

    #[test]
    fn any_bytes_give_a_result_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = render(&bytes);
        let _ = render_gated(&bytes, GATE);
    }

    #[test]
    fn mutated_files_give_a_result_and_no_panic(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..40usize, "[-:?&*!|>{}\\[\\],#'\"\\\\%@` \\n\\ta0<~\u{85}\u{2028}\u{feff}]{0,4}"), 1..6),
    ) {
        let mut text = MUTATED.to_owned();
        for (at, length, inserted) in cuts {
            let at = (0..=at.index(text.len() + 1)).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            let end = (at..=text.len()).find(|&end| end >= (at + length).min(text.len()) && text.is_char_boundary(end)).unwrap();
            text.replace_range(at..end, &inserted);
        }
        if let Ok(rendered) = render(text.as_bytes()) {
            for output in [&rendered.follower, &rendered.leader] {
                read_back(std::str::from_utf8(output).unwrap());
            }
        }
        if let Ok(gated) = render_gated(text.as_bytes(), GATE) {
            for output in [&gated.rendered.follower, &gated.rendered.leader] {
                read_back(std::str::from_utf8(output).unwrap());
            }
        }
    }
}

const GATE: std::net::SocketAddr = std::net::SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 9097);

const MUTATED: &str = r#"# comment
follower:
  global: &g {scrape_interval: 15s, external_labels: {a: "x\u00e9\n", 'b': 0777}}
  rule_files: [a.yml, 'b-*.yml', -, "c"]
  scrape_configs:
  - job_name: é
    <<: [*g, {x: yes}]
    regex: >-
      ([^:]+)(?::\d+)?
      more
    text: |+2
        keep

  - {job_name: two, ? complex : [1, [2, {}]], !!str t: !!binary aGk= , n: }
leader:
  global: *g
  remote_write:
  - url: https://user:pw@remote/write?x=y#z
"#;
