//! Progress bars on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a progress bar for so many steps, or for an unknown number.
pub fn progress_bar(steps: Option<u64>, template: &str) -> ProgressBar {
    let bar = steps.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the template is well-formed"))
}
