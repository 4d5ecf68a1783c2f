pub(crate) fn run(_lab: &crate::lab::Lab, _report: &mut crate::report::Report) {}
