//! Taking back what an agent wrote: rows as they were before the first of its writes, where nobody
//! has touched them since.

use super::PostgresTarget;
use countermand_engine::target::{KeptWrite, RestorePlan, Restored, TakeBack, TargetError};

/// What taking these writes back would do.
pub(super) async fn plan(
    _target: &PostgresTarget,
    _writes: &[KeptWrite],
) -> Result<RestorePlan, TargetError> {
    Err(TargetError::Local("taking writes back is not built yet".into()))
}

/// Takes writes back, in one transaction.
pub(super) async fn take_back(
    _target: &PostgresTarget,
    _act: TakeBack,
) -> Result<Restored, TargetError> {
    Err(TargetError::Local("taking writes back is not built yet".into()))
}
