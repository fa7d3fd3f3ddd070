//! What of a database's faults passes by itself.

use sqlx::Error;

/// Whether the same work may well go through on a new connection: the line or the server was lost, or the
/// server ended one transaction for the sake of others.
pub fn passes(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) | Error::Tls(_) | Error::WorkerCrashed | Error::PoolTimedOut => {
            true
        }
        Error::Database(error) => error.code().is_some_and(|code| passes_as(&code)),
        _ => false,
    }
}

/// By SQLSTATE (PostgreSQL, appendix A): connection exceptions (class 08); the server shuts down, crashed,
/// starts, or drops us (57P0x, 25P03); serialization failure, deadlock, lock not available; too many
/// connections.
fn passes_as(code: &str) -> bool {
    code.starts_with("08")
        || code.starts_with("57P0")
        || matches!(code, "25P03" | "40001" | "40P01" | "55P03" | "53300")
}

/// Whether the server's answer to a `COMMIT` says that the transaction was rolled back: class 40, but for
/// 40003, "statement completion unknown".
pub fn is_rolled_back(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.len() == 5 && code.starts_with("40") && code != "40003")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_one_transaction_or_one_connection_passes_and_what_is_wrong_with_a_statement_does_not() {
        for code in ["40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08006", "53300"] {
            assert!(passes_as(code), "{code}");
        }
        // A constraint, a syntax error, a full disk, a right that is missing; SQLite's SQLITE_FULL.
        for code in ["23505", "42601", "53100", "42501", "57014", "13"] {
            assert!(!passes_as(code), "{code}");
        }
        assert!(passes(&Error::Io(std::io::ErrorKind::NotFound.into())), "a socket that is gone comes back");
        assert!(!passes(&Error::RowNotFound));
    }
}
