//! The target picker's model: which agents a task is for, as typed, as URL and as selector.

use opslink::pb::Selector;

/// How the agents are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// By a label expression.
    #[default]
    Labels,
    /// By names or globs.
    Names,
    /// Every agent.
    All,
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Which of the fields counts.
    pub by: By,
    /// Names or globs, separated by commas or spaces.
    pub names: String,
    /// A label expression.
    pub labels: String,
    /// Names or globs to leave out.
    pub exclude: String,
}

impl Target {
    /// The selector of the API.
    pub fn selector(&self) -> Selector {
        let exclude = words(&self.exclude);
        match self.by {
            By::Labels => Selector {
                expression: self.labels.trim().to_owned(),
                exclude,
                ..Selector::default()
            },
            By::Names => Selector {
                names: words(&self.names),
                exclude,
                ..Selector::default()
            },
            By::All => Selector {
                all: true,
                exclude,
                ..Selector::default()
            },
        }
    }

    /// True when nothing was typed that could match.
    pub fn is_empty(&self) -> bool {
        match self.by {
            By::Labels => self.labels.trim().is_empty(),
            By::Names => words(&self.names).is_empty(),
            By::All => false,
        }
    }

    /// From a selector, as when a task is run again. One with names and labels at once has no place here: with one of
    /// the two it would mean more agents, so nobody is chosen.
    pub fn from_selector(selector: &Selector) -> Self {
        if !selector.expression.is_empty() && (selector.all || !selector.names.is_empty()) {
            return Self::default();
        }
        let by = if selector.all {
            By::All
        } else if selector.names.is_empty() {
            By::Labels
        } else {
            By::Names
        };
        Self {
            by,
            names: selector.names.join(", "),
            labels: selector.expression.clone(),
            exclude: selector.exclude.join(", "),
        }
    }

    /// From the parameters of a URL: `a` names, `l` labels, `all`, `x` exclude.
    pub fn from_query(get: impl Fn(&str) -> Option<String>) -> Self {
        let (names, labels) = (get("a").unwrap_or_default(), get("l").unwrap_or_default());
        let by = if get("all").is_some() {
            By::All
        } else if !names.is_empty() && labels.is_empty() {
            By::Names
        } else {
            By::Labels
        };
        Self {
            by,
            names,
            labels,
            exclude: get("x").unwrap_or_default(),
        }
    }

    /// The parameters of a URL.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        match self.by {
            By::Labels if !self.labels.trim().is_empty() => pairs.push(("l", self.labels.trim().to_owned())),
            By::Names if !self.names.trim().is_empty() => pairs.push(("a", self.names.trim().to_owned())),
            By::All => pairs.push(("all", "1".to_owned())),
            By::Labels | By::Names => {}
        }
        if !self.exclude.trim().is_empty() {
            pairs.push(("x", self.exclude.trim().to_owned()));
        }
        pairs
    }

    /// Adds `name=value` to the expression, or takes it out when it is there.
    pub fn toggle_label(&mut self, label: &str) {
        self.by = By::Labels;
        toggle(&mut self.labels, label, ",");
    }

    /// Adds a name, or takes it out when it is there.
    pub fn toggle_name(&mut self, name: &str) {
        self.by = By::Names;
        toggle(&mut self.names, name, ", ");
    }

    /// True when this name stands in the list as it is.
    pub fn has_name(&self, name: &str) -> bool {
        words(&self.names).iter().any(|have| have == name)
    }

    /// True when this part stands in the expression as it is.
    pub fn has_label(&self, label: &str) -> bool {
        parts(&self.labels).contains(&label)
    }
}

fn toggle(text: &mut String, part: &str, separator: &str) {
    let mut all: Vec<String> = parts(text).into_iter().map(str::to_owned).collect();
    let before = all.len();
    all.retain(|have| have != part);
    if all.len() == before {
        all.push(part.to_owned());
    }
    *text = all.join(separator);
}

/// Cuts an expression at its outer commas: `a=b,dc in (x,y)` has two parts.
pub fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth <= 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

/// Words separated by commas or white space.
pub fn words(text: &str) -> Vec<String> {
    text.split([',', ' ', '\t', '\n'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chosen_field_counts() {
        let target = Target {
            by: By::Names,
            names: "web-*, db".into(),
            labels: "env=prod".into(),
            ..Target::default()
        };
        let selector = target.selector();
        assert_eq!((selector.names.len(), selector.expression.as_str()), (2, ""));
    }

    #[test]
    fn the_url_keeps_the_choice() {
        for target in [
            Target {
                by: By::All,
                exclude: "db".into(),
                ..Target::default()
            },
            Target {
                labels: "env=prod,dc in (bj,sh)".into(),
                ..Target::default()
            },
            Target {
                by: By::Names,
                names: "a, b".into(),
                ..Target::default()
            },
        ] {
            let query = target.query();
            let get = |name: &str| {
                query
                    .iter()
                    .find(|(have, _)| *have == name)
                    .map(|(_, value)| value.clone())
            };
            assert_eq!(Target::from_query(get), target);
        }
    }

    #[test]
    fn a_narrower_selector_than_can_be_shown_chooses_nobody() {
        let narrow = Selector {
            names: vec!["web-*".into()],
            expression: "env=prod".into(),
            ..Selector::default()
        };
        assert!(Target::from_selector(&narrow).is_empty());
    }

    #[test]
    fn labels_toggle() {
        let mut target = Target {
            labels: "dc in (bj,sh)".into(),
            ..Target::default()
        };
        target.toggle_label("env=prod");
        assert_eq!(target.labels, "dc in (bj,sh),env=prod");
        target.toggle_label("dc in (bj,sh)");
        assert_eq!(target.labels, "env=prod");
    }
}
