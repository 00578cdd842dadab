//! A figure: samples, what they are compared with, and how both are shown.

use serde_json::{Value, json};

/// Samples of one quantity.
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
    baselines: Vec<(String, Vec<f64>)>,
}

impl Figure {
    /// Heading of the table that [`Self::row`] fills.
    pub(crate) const HEADING: &'static str =
        "figure               unit          n        min     median        p95        p99        max   beside";

    /// Makes a figure of at least one sample.
    pub(crate) fn new(name: &str, unit: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            name: name.to_owned(),
            unit,
            samples,
            baselines: Vec::new(),
        }
    }

    /// Adds what it is compared with, measured in the same run; nothing when there are no samples.
    #[must_use]
    pub(crate) fn beside(mut self, name: &str, mut samples: Vec<f64>) -> Self {
        if !samples.is_empty() {
            samples.sort_by(f64::total_cmp);
            self.baselines.push((name.to_owned(), samples));
        }
        self
    }

    /// Returns the figure as a row of the table.
    pub(crate) fn row(&self) -> String {
        let at = |part: f64| quantile(&self.samples, part);
        let beside: Vec<String> = self
            .baselines
            .iter()
            .map(|(name, samples)| format!("{name} {:.1}", quantile(samples, 0.5)))
            .collect();
        format!(
            "{:<20} {:<10} {:>4} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>10.2}   {}",
            self.name,
            self.unit,
            self.samples.len(),
            at(0.0),
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0),
            beside.join(", ")
        )
    }

    /// Returns the figure as one line of JSON. With few samples there is no p99.
    pub(crate) fn json(&self) -> Value {
        let at = |part: f64| quantile(&self.samples, part);
        let mut line = serde_json::Map::new();
        line.insert("name".into(), json!(self.name));
        line.insert("unit".into(), json!(self.unit));
        line.insert("n".into(), json!(self.samples.len()));
        for (name, part) in [("min", 0.0), ("median", 0.5), ("max", 1.0)] {
            line.insert(name.into(), json!(at(part)));
        }
        if self.samples.len() >= 50 {
            line.insert("p95".into(), json!(at(0.95)));
            line.insert("p99".into(), json!(at(0.99)));
        }
        if let Some((name, samples)) = self.baselines.first() {
            line.insert(
                "baseline".into(),
                json!({ "name": name, "median": quantile(samples, 0.5) }),
            );
        }
        Value::Object(line)
    }
}

/// Returns the sample at this part of a sorted list (nearest rank).
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small index"
    )]
    let index = (last as f64 * part).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
