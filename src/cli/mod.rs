//! Subcommands that do not run the sidecar: `render`, `check-config`, and the clients of a running sidecar.
