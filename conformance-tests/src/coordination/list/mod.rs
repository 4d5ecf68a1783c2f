//! The list of laws: layers, groups, names. It exists once: the tests, the table of laws and the negative controls are
//! made from it. A law that is missing here is dead code, and one that is here and nowhere else does not compile. There
//! is a file for each layer.

mod laws;
mod matrix;
mod regressions;

/// The list. Calls `$then!` with `$with` and all layers, groups and names.
#[macro_export]
#[doc(hidden)]
macro_rules! __laws {
    ($then:path, $with:tt) => {
        $crate::__list_laws! { $then, $with }
    };
}
