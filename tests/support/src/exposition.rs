//! A page of metrics in the text format, read by name and label.

/// What `/metrics` of one process said at one moment.
#[derive(Clone, Debug)]
pub struct Page(pub String);

impl Page {
    /// Sum of a metric over all of its series; 0 if there are none.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_with(name, "")
    }

    /// Sum over its series whose labels contain a text, for example `remote_name="main"`.
    pub fn sum_with(&self, name: &str, label: &str) -> f64 {
        let all = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let own = all.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        own.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Whether it has a metric.
    pub fn has(&self, name: &str) -> bool {
        self.0.lines().filter_map(|line| line.strip_prefix(name)).any(|rest| rest.starts_with(['{', ' ']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_series_only() {
        let page = Page("# HELP a x\na{b=\"c d\"} 2\na{b=\"e\"} 3.5\na_total 100\na 1\n".into());
        assert!((page.sum("a") - 6.5).abs() < 1e-9);
        assert!((page.sum_with("a", "b=\"e\"") - 3.5).abs() < 1e-9);
        assert!(page.has("a_total") && !page.has("a_"));
    }
}
