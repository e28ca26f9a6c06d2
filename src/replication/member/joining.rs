//! The start of a member: whether its folder belongs to the cluster.
//!
//! In: a folder that was loaded, what the log continues. Out: whether it is followed, or copied first. Promise: data that is not the cluster's is
//! neither replaced nor mixed with it.

use super::Member;
use super::origin::{JoinError, Origin};

impl Member {
    /// Checks that the folder continues what the log does, or is empty.
    pub(super) fn adopt_origin(&mut self, origin: Option<&[u8]>) -> Result<(), JoinError> {
        let Some(origin) = origin.and_then(|origin| serde_json::from_slice::<Origin>(origin).ok())
        else {
            return Ok(());
        };
        let engine = &self.engine;
        match engine.timelines().last() {
            Some(timeline) if timeline.id == origin.timeline => {}
            None if engine.keys() == 0 => {
                if origin.from == 1 && engine.revision() == 0 {
                    engine.copy_timeline(origin.timeline())?;
                } else {
                    self.must_copy = true;
                }
            }
            _ => {
                return Err(JoinError::Foreign {
                    path: self.folder.clone(),
                    cluster: self.options.cluster.clone(),
                });
            }
        }
        self.origin = Some(origin);
        Ok(())
    }
}
