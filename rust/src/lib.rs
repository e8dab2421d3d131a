//! Native kernels of privity, as Python sees them: one module per guarantee, bytes in, bytes out.

use pyo3::prelude::*;

#[cfg(feature = "act")]
mod act;
#[cfg(feature = "query")]
mod query;
#[cfg(feature = "rln")]
mod rln;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[cfg(feature = "rln")]
    rln::register(module)?;
    #[cfg(feature = "act")]
    act::register(module)?;
    #[cfg(feature = "query")]
    query::register(module)?;
    Ok(())
}
