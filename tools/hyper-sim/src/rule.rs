//! What goes wrong, by rule: `op=nfc,object=disk-0,skip=1,max=1,cut=1048576`.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use hyper_common::time::parse_duration;
use serde::Serialize;

/// What a rule does to an operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Action {
    /// Waits first.
    pub delay: Option<Duration>,
    /// Does it and answers so much later.
    pub late: Option<Duration>,
    /// Answers with this HTTP status and nothing else.
    pub status: Option<u16>,
    /// Says with that status how many seconds to wait.
    pub retry_after: Option<u64>,
    /// Answers with this fault.
    pub fault: Option<String>,
    /// Breaks the connection after so many bytes of the body.
    pub cut: Option<u64>,
    /// Ends the body after so many bytes as if it were whole.
    pub short: Option<u64>,
    /// Changes the byte at this place of the body.
    pub corrupt: Option<u64>,
    /// Ends the login beforehand.
    pub expire: bool,
    /// Ends all leases beforehand.
    pub lose: bool,
    /// Sends all of a file where a range was asked for.
    pub whole: bool,
}

/// A rule: which operations, and what happens to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rule {
    /// The method, `nfc`, `folder` or `lease` (which becomes ready); every operation where it is missing.
    pub op: Option<String>,
    /// Text that is in the object's id or the file's name.
    pub object: Option<String>,
    /// How many matching operations pass first.
    pub skip: u64,
    /// How many it then applies to; all where it is missing.
    pub max: Option<u64>,
    /// What it does.
    pub action: Action,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rule = Self::default();
        for part in text.split(',').map(str::trim) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            rule.set(name, value)?;
        }
        if rule.action == Action::default() {
            return Err("it does nothing: give delay, late, status, fault, cut, short, corrupt, \
                        expire, lose or whole"
                .to_owned());
        }
        if rule.action.retry_after.is_some() && rule.action.status.is_none() {
            return Err("retry-after needs a status".to_owned());
        }
        Ok(rule)
    }
}

impl Rule {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || {
            let number = value.parse::<u64>();
            number.map_err(|_| format!("{name}={value:?} is no number"))
        };
        let word = || match value {
            "" => Err(format!("{name} needs a value")),
            value => Ok(Some(value.to_owned())),
        };
        let action = &mut self.action;
        match name {
            "op" => self.op = word()?,
            "object" => self.object = word()?,
            "skip" => self.skip = number()?,
            "max" => self.max = Some(number()?),
            "delay" => action.delay = Some(parse_duration(value)?),
            "late" => action.late = Some(parse_duration(value)?),
            "status" => {
                let status = u16::try_from(number()?).ok().filter(|it| (200..600).contains(it));
                action.status = Some(status.ok_or_else(|| format!("{value} is no HTTP status"))?);
            }
            "retry-after" => action.retry_after = Some(number()?),
            "fault" => action.fault = word()?,
            "cut" => action.cut = Some(number()?),
            "short" => action.short = Some(number()?),
            "corrupt" => action.corrupt = Some(number()?),
            "expire" | "lose" | "whole" if !value.is_empty() => {
                return Err(format!("{name} takes no value"));
            }
            "expire" => action.expire = true,
            "lose" => action.lose = true,
            "whole" => action.whole = true,
            _ => return Err(format!("there is no {name:?} in a rule")),
        }
        Ok(())
    }

    fn is_for(&self, op: &str, object: &str) -> bool {
        self.op.as_deref().is_none_or(|wanted| wanted == op)
            && self.object.as_deref().is_none_or(|part| object.contains(part))
    }
}

/// All rules, with how often each was met.
#[derive(Debug, Default)]
pub struct Rules(RwLock<Vec<(Rule, AtomicU64)>>);

impl Rules {
    /// Rules that were never met.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(RwLock::new(rules.into_iter().map(|rule| (rule, AtomicU64::new(0))).collect()))
    }

    /// One more rule, which stands behind the others.
    pub fn add(&self, rule: Rule) {
        let mut rules = self.0.write().unwrap_or_else(PoisonError::into_inner);
        rules.push((rule, AtomicU64::new(0)));
    }

    /// What happens to an operation: the first rule that applies. Each rule that is for it has met
    /// it, whether it applies or not.
    pub fn meet(&self, op: &str, object: &str) -> Action {
        let mut found = None;
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (rule, met) in rules.iter().filter(|(rule, _)| rule.is_for(op, object)) {
            let before = met.fetch_add(1, Ordering::Relaxed);
            let applies =
                before >= rule.skip && rule.max.is_none_or(|max| before - rule.skip < max);
            if applies && found.is_none() {
                found = Some(rule.action.clone());
            }
        }
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_count_what_they_meet() {
        let rule: Rule = "op=nfc,object=disk-0,skip=1,max=2,cut=10".parse().unwrap();
        let rules = Rules::new(vec![rule]);
        assert_eq!(rules.meet("nfc", "disk-1.vmdk"), Action::default());
        let cuts: Vec<_> = (0..4).map(|_| rules.meet("nfc", "disk-0.vmdk").cut).collect();
        assert_eq!(cuts, [None, Some(10), Some(10), None]);
    }

    #[test]
    fn wrong_rules_say_what_is_wrong() {
        for (text, part) in [
            ("op=nfc", "does nothing"),
            ("op=nfc,cut=x", "no number"),
            ("colour=1,cut=1", "no \"colour\""),
            ("status=99", "no HTTP status"),
            ("retry-after=1,cut=1", "needs a status"),
            ("expire=1", "no value"),
            ("op=,cut=1", "needs a value"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
