//! What the palette offers: pages, actions, agents, tasks.

use std::collections::BTreeMap;

use opslink::pb;

use crate::{
    i18n::{Arg, Language, in_all, language, t, ta},
    logic::{format, order, palette::Words, taskview},
    session::session,
};

/// Agents and tasks that are offered before anything is typed.
const FEW: usize = 6;

/// What is done when it is chosen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// Opens a page.
    Go(String),
    /// Another theme.
    Theme(&'static str),
    /// Another language.
    Language(Language),
    /// The list of keys.
    Help,
    /// Logs out.
    Leave,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// Id of its group's name.
    pub group: &'static str,
    /// Icon.
    pub icon: &'static str,
    /// Label and other words.
    pub words: Words,
    /// A word at the end of the line.
    pub note: String,
    /// What it does.
    pub act: Act,
}

impl Choice {
    /// An entry that is a sentence of the catalogue.
    fn said(group: &'static str, icon: &'static str, id: &str, act: Act) -> Self {
        Self::made(group, icon, id, &[], act)
    }

    fn made(group: &'static str, icon: &'static str, id: &str, args: &[(&str, Arg)], act: Act) -> Self {
        Self {
            group,
            icon,
            words: Words {
                label: ta(id, args),
                also: in_all(id, args),
            },
            note: String::new(),
            act,
        }
    }

    fn or(mut self, word: &str) -> Self {
        self.words.also.push(' ');
        self.words.also.push_str(word);
        self
    }
}

const PAGES: [(&str, &str, &str); 7] = [
    ("home", "home", "/"),
    ("agents", "agents", "/agents"),
    ("tasks", "tasks", "/tasks"),
    ("tokens", "key", "/tokens"),
    ("audit", "audit", "/audit"),
    ("account", "user", "/account"),
    ("tasks-failed", "failed", "/tasks?state=failed"),
];

/// Everything, in the order in which it is shown when nothing is typed.
pub(crate) fn all(agents: &BTreeMap<String, pb::Agent>, tasks: &[pb::Task], typed: &str) -> Vec<Choice> {
    let asked = !typed.trim().is_empty();
    let mut choices = Vec::new();
    if session().may_operate() {
        let run = |icon, id, path: &str| Choice::said("actions", icon, id, Act::Go(path.into()));
        choices.push(run("shell", "run-shell-heading", "/run/shell").or("shell"));
        choices.push(run("sql", "run-sql-heading", "/run/sql"));
    }
    let pages = PAGES
        .iter()
        .map(|(id, icon, path)| Choice::said("pages", icon, id, Act::Go((*path).into())));
    choices.extend(pages);
    recent(&mut choices, tasks, if asked { usize::MAX } else { FEW });
    machines(&mut choices, agents, asked);
    settings(&mut choices);
    if asked {
        by_id(&mut choices, typed.trim());
    }
    choices
}

/// Brings entries of a group together, the group with the best entry first.
pub(crate) fn group(found: &mut Vec<Choice>) {
    let mut groups: Vec<&'static str> = Vec::new();
    for choice in found.iter() {
        if !groups.contains(&choice.group) {
            groups.push(choice.group);
        }
    }
    let place = |choice: &Choice| groups.iter().position(|group| *group == choice.group);
    order::by(found, |a, b| place(a).cmp(&place(b)));
}

fn recent(choices: &mut Vec<Choice>, tasks: &[pb::Task], most: usize) {
    for task in tasks.iter().take(most) {
        let word = taskview::task_word(task.state());
        let summary = taskview::summary(task.spec.as_ref());
        choices.push(Choice {
            group: "palette-tasks",
            icon: word,
            words: Words {
                label: if summary.is_empty() {
                    format::short_id(&task.id).to_owned()
                } else {
                    summary
                },
                also: format!("{} {}", task.id, in_all(&format!("state-{word}"), &[])),
            },
            note: format!("{} · {}", t(&format!("state-{word}")), format::short_id(&task.id)),
            act: Act::Go(format!("/tasks/{}", task.id)),
        });
    }
}

fn machines(choices: &mut Vec<Choice>, agents: &BTreeMap<String, pb::Agent>, asked: bool) {
    let most = if asked { usize::MAX } else { FEW };
    for (name, agent) in agents.iter().take(most) {
        let online = agent.status() == pb::AgentStatus::Online;
        let word = if online { "online" } else { "offline" };
        choices.push(Choice {
            group: "agents",
            icon: "agents",
            words: Words {
                label: name.clone(),
                also: in_all("agents", &[]),
            },
            note: t(&format!("state-{word}")),
            act: Act::Go(format!("/agents/{name}")),
        });
    }
    if !asked || !session().may_operate() {
        return;
    }
    for name in agents.keys() {
        let args = [("name", Arg::from(name.as_str()))];
        for (icon, id, kind) in [("shell", "palette-shell", "shell"), ("sql", "palette-sql", "sql")] {
            let act = Act::Go(format!("/run/{kind}?a={name}"));
            choices.push(Choice::made("actions", icon, id, &args, act).or("agent 代理"));
        }
    }
}

fn settings(choices: &mut Vec<Choice>) {
    if session().may_administer() {
        let make = |icon, id, path: &str| Choice::said("actions", icon, id, Act::Go(path.into()));
        choices.push(make("plus", "add-agent", "/agents/new"));
        choices.push(make("key", "token-create", "/tokens?new=1"));
    }
    let (other, name) = match language() {
        Language::En => (Language::ZhCn, "切换为中文"),
        Language::ZhCn => (Language::En, "Switch to English"),
    };
    choices.push(Choice {
        group: "palette-settings",
        icon: "auto",
        words: Words {
            label: name.into(),
            also: format!("{} 中文 Chinese English 英文", in_all("language", &[])),
        },
        note: String::new(),
        act: Act::Language(other),
    });
    for (icon, theme, id) in [
        ("sun", "light", "theme-light"),
        ("moon", "dark", "theme-dark"),
        ("auto", "auto", "theme-auto"),
    ] {
        let args = [("name", Arg::from(t(id)))];
        let entry = Choice::made("palette-settings", icon, "palette-theme", &args, Act::Theme(theme));
        choices.push(entry.or(&in_all(id, &[])));
    }
    choices.push(Choice::said("palette-settings", "keyboard", "keyboard", Act::Help));
    choices.push(Choice::said("palette-settings", "user", "logout", Act::Leave));
}

/// A task by the start of its id, which need not be a recent one.
fn by_id(choices: &mut Vec<Choice>, typed: &str) {
    let is_id = typed.len() >= 4 && typed.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    let known = choices
        .iter()
        .any(|choice| matches!(&choice.act, Act::Go(path) if path.starts_with(&format!("/tasks/{typed}"))));
    if is_id && !known {
        let args = [("id", Arg::from(typed))];
        let act = Act::Go(format!("/tasks/{typed}"));
        choices.push(Choice::made("palette-tasks", "tasks", "palette-task", &args, act));
    }
}
