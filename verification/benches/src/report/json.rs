//! The file with everything that was measured, all rounds of it.

use std::fs;
use std::path::Path;

use crate::report::figures::Report;

pub(crate) fn write(file: &Path, report: &Report) -> Result<(), String> {
    let text = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    fs::write(file, text + "\n").map_err(|error| format!("cannot write {}: {error}", file.display()))
}

pub(crate) fn read(file: &Path) -> Result<Report, String> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::tests::sample;

    #[test]
    fn a_written_report_is_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let report = sample();
        write(file.path(), &report).unwrap();
        let read = read(file.path()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{report:?}"));
    }

    #[test]
    fn a_file_that_is_no_report_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{}").unwrap();
        assert!(read(file.path()).unwrap_err().contains("missing field"));
    }
}
