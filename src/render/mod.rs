//! Pure: source file + role -> bytes of the Prometheus configuration.
