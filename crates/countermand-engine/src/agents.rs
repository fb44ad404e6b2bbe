//! Agents' credentials: shown once, kept as SCRAM verifiers.

use countermand_core::digest::Digest;
use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use rand::Rng as _;
use zeroize::Zeroizing;

/// Rounds of the SCRAM verifier. Credentials are 256 random bits, which no number of rounds
/// makes harder to guess; this is the protocol's least.
const ITERATIONS: usize = 4096;

/// What is kept of a credential: enough to check it, not to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Salt of the derivation.
    pub salt: Vec<u8>,
    /// Its rounds.
    pub iterations: usize,
    /// `SHA-256(ClientKey)`.
    pub stored_key: Vec<u8>,
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: Vec<u8>,
}

/// A new credential with its verifier.
pub(crate) fn new_credential() -> (Zeroizing<String>, ScramVerifier) {
    let bytes = Zeroizing::new(rand::rng().random::<[u8; 32]>());
    let credential = Zeroizing::new(format!("cmd_{}", hex::encode(bytes.as_slice())));
    let salt = rand::rng().random::<[u8; 16]>().to_vec();
    let salted = Zeroizing::new(gen_salted_password(&credential, &salt, ITERATIONS));
    let secret =
        ScramSecret::verifier_from_salted_password(salt.clone(), salted.to_vec(), ITERATIONS);
    let (stored_key, server_key) = match secret {
        ScramSecret::Verifier { stored_key, server_key, .. } => (stored_key, server_key),
        ScramSecret::SaltedPassword { .. } => (random_key(), random_key()),
    };
    (credential, ScramVerifier { salt, iterations: ITERATIONS, stored_key, server_key })
}

/// A verifier that nothing satisfies, and that is the same each time for one name: a stranger
/// who asks twice must not learn whether the agent exists.
pub(crate) fn stranger(secret: &[u8; 32], name: &str) -> ScramVerifier {
    let salt = Digest::of(&(hex::encode(secret), name)).as_bytes()[..16].to_vec();
    let (stored_key, server_key) = (random_key(), random_key());
    ScramVerifier { salt, iterations: ITERATIONS, stored_key, server_key }
}

fn random_key() -> Vec<u8> {
    rand::rng().random::<[u8; 32]>().to_vec()
}
