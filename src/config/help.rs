//! The command line as clap knows it, and what is derived from it: help, the table of flags, `docs/flags.md`.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::argv::{FlagTable, Kind};
use super::error::env_name;
use super::raw::RawArgs;

/// How a help text ends that states a default which depends on other flags.
const DEFAULT_MARK: &str = " [default: ";

/// The command line, with default and environment variable of every flag at the end of its help.
pub(super) fn command() -> Command {
    RawArgs::command().args_override_self(true).mut_args(|arg| {
        let (Some(flag), Some(help)) = (arg.get_long(), arg.get_help()) else { return arg };
        let fixed = arg.get_default_values().first();
        let fixed = fixed.map(|value| format!("{DEFAULT_MARK}{}]", value.to_string_lossy())).unwrap_or_default();
        let help = format!("{help}{fixed}\n[env: {}]", env_name(flag));
        arg.help(help).hide_default_value(true)
    })
}

/// The flags of the sidecar and of its subcommands.
pub(super) fn flag_table() -> FlagTable {
    let command = RawArgs::command();
    let mut table = FlagTable::default();
    table.root.extend(command.get_arguments().filter_map(entry));
    collect_local(&command, &mut table);
    table
}

fn collect_local(command: &Command, table: &mut FlagTable) {
    for subcommand in command.get_subcommands() {
        table.local.extend(subcommand.get_arguments().filter_map(entry));
        collect_local(subcommand, table);
    }
}

fn entry(arg: &Arg) -> Option<(String, Kind)> {
    let flag = arg.get_long()?;
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let bool = optional || !arg.get_action().takes_values();
    Some((flag.to_owned(), if bool { Kind::Bool } else { Kind::Value }))
}

/// The text of `docs/flags.md`: one table for each topic.
pub fn flags_markdown() -> String {
    let command = RawArgs::command();
    let mut text = String::from(
        "# Flags\n\n\
         <!-- Generated from the code; `UPDATE_GOLDEN=1 cargo test --test cli` writes it anew. -->\n\n\
         Flags are written `-flag value`, `-flag=value`, `--flag value` or `--flag=value`. A boolean is true when it\n\
         stands alone; `-flag=false` makes it false. Durations are written like `300ms`, `1.5s` or `1m30s`. The\n\
         command line wins over the environment, and an empty variable counts as unset.\n",
    );
    let mut topic = None;
    for arg in command.get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        if arg.get_help_heading() != topic {
            topic = arg.get_help_heading();
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {}\n\n", topic.unwrap_or_default());
            text.push_str("| flag | default | environment | meaning |\n|---|---|---|---|\n");
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (meaning, stated) = help.split_once(DEFAULT_MARK).unwrap_or((&help, ""));
        let fixed = arg.get_default_values().first().map(|value| format!("`{}`", value.to_string_lossy()));
        let default = fixed.unwrap_or_else(|| stated.trim_end_matches(']').to_owned());
        let meaning = meaning.replace('|', "\\|");
        let _ = writeln!(text, "| `{flag}` | {default} | `{}` | {meaning} |", env_name(flag));
    }
    text
}
