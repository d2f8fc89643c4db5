//! What a platform raises the alarm about.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::output::{Cell, Column, Record};

/// The alarms facet.
#[async_trait]
pub trait Alarms: Send + Sync {
    /// What is triggered now, the latest first.
    ///
    /// # Errors
    /// Those of the platform.
    async fn triggered(&self) -> Result<Vec<Alarm>>;
}

/// An alarm that is triggered on something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The context it was found in.
    pub context: String,
    /// The provider of that context.
    pub provider: String,
    /// What the platform calls this state of it.
    pub alarm_id: String,
    /// The alarm's name.
    pub alarm_name: Option<String>,
    /// What the alarm is for.
    pub description: Option<String>,
    /// How bad it is: `red`, `yellow`, `gray` or `green`.
    pub status: String,
    /// Since when.
    pub time: Timestamp,
    /// Whether somebody has taken note of it.
    pub acknowledged: bool,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_time: Option<Timestamp>,
    /// What it is triggered on: its name.
    pub entity_name: Option<String>,
    /// The platform's type of that.
    pub entity_type: String,
    /// The platform's identifier of that.
    pub entity_id: String,
    /// The event that triggered it, where the platform tells.
    pub event_id: Option<String>,
}

impl Record for Alarm {
    const SCHEMA: &'static str = "hyper.alarm/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("time", "TIME"),
        Column::text("status", "STATUS"),
        Column::text("entity_name", "ENTITY"),
        Column::text("alarm_name", "ALARM"),
        Column::text("acknowledged", "ACKNOWLEDGED"),
        Column::text("entity_type", "KIND").wide(),
        Column::text("acknowledged_by", "BY").wide(),
        Column::text("context", "CONTEXT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.time.into(),
            self.status.as_str().into(),
            self.entity_name.as_deref().into(),
            self.alarm_name.as_deref().into(),
            self.acknowledged.into(),
            self.entity_type.as_str().into(),
            self.acknowledged_by.as_deref().into(),
            self.context.as_str().into(),
        ]
    }

    fn name(&self) -> String {
        match self.entity_type.as_str() {
            "VirtualMachine" => format!("{}:@{}", self.context, self.entity_id),
            _ => format!("{}:{}", self.context, self.entity_name.as_deref().unwrap_or("-")),
        }
    }
}
