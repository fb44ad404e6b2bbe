//! What `webauthn-rs-core` verifies: all that WebAuthn demands of an assertion and of a new credential.
//!
//! The library means to keep its challenges, which it throws dice for. Ours are the SHA-256 of what is
//! signed, so its state is made anew from the text each time, in the form in which it is stored.

use super::cose::PublicKey;
use super::{Assertion, Attestation, Passkey, PasskeyFault};
use crate::key::Origin;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use countermand_core::digest::Digest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tracing::{Dispatch, dispatcher};
use url::Url;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    AttestationFormat, AttestationMetadata, AuthenticationState, AuthenticatorAssertionResponseRaw,
    AuthenticatorAttestationResponseRaw, COSEAlgorithm, Credential, ParsedAttestation,
    ParsedAttestationData, PublicKeyCredential, RegisterPublicKeyCredential, RegisteredExtensions,
    RegistrationState, UserVerificationPolicy,
};

/// The formats in which an authenticator says of itself what it is, of which browsers leave these two
/// to who did not ask: nothing, and a signature by the new key itself. The others, with their
/// certificates, are not looked at.
const FORMATS: [&str; 2] = ["none", "packed"];

/// Whether this assertion is the passkey's over this text.
pub(super) fn verify(
    passkey: &Passkey,
    text: &[u8],
    assertion: &Assertion,
) -> Result<(), PasskeyFault> {
    let core = core(&passkey.origin)?;
    let state: AuthenticationState = state(json!({
        "credentials": [],
        "policy": "required",
        "challenge": challenge(text),
        "appid": null,
        "allow_backup_eligible_upgrade": false,
    }))?;
    let used = PublicKeyCredential {
        id: BASE64.encode(&assertion.id),
        raw_id: assertion.id.clone(),
        response: AuthenticatorAssertionResponseRaw {
            authenticator_data: assertion.authenticator_data.clone(),
            client_data_json: assertion.client_data.clone(),
            signature: assertion.signature.clone(),
            user_handle: None,
        },
        extensions: Default::default(),
        type_: "public-key".to_owned(),
    };
    let credential = credential(passkey);
    let verified = quietly(|| core.authenticate_single_credential(&used, &state, &credential));
    verified.map(|_| ()).map_err(|error| fault(&error, PasskeyFault::DoesNotHold))
}

/// The passkey that was made at this origin when a browser was asked with this text.
pub(super) fn register(
    origin: &Origin,
    text: &[u8],
    made: &Attestation,
) -> Result<Passkey, PasskeyFault> {
    #[derive(serde::Deserialize)]
    struct Format {
        fmt: String,
    }
    let core = core(origin)?;
    let format: Format =
        serde_cbor_2::from_slice(&made.object).map_err(|_| PasskeyFault::AuthenticatorData)?;
    if !FORMATS.contains(&format.fmt.as_str()) {
        return Err(PasskeyFault::Attestation);
    }
    let state: RegistrationState = state(json!({
        "policy": "required",
        "exclude_credentials": [],
        "challenge": challenge(text),
        "credential_algorithms": [COSEAlgorithm::ES256, COSEAlgorithm::RS256],
        "require_resident_key": false,
        "authenticator_attachment": null,
        "extensions": {},
        "allow_synchronised_authenticators": true,
    }))?;
    let answer = RegisterPublicKeyCredential {
        id: BASE64.encode(&made.id),
        raw_id: made.id.clone(),
        response: AuthenticatorAttestationResponseRaw {
            attestation_object: made.object.clone(),
            client_data_json: made.client_data.clone(),
            transports: None,
        },
        type_: "public-key".to_owned(),
        extensions: Default::default(),
    };
    let registered = quietly(|| core.register_credential(&answer, &state, None))
        .map_err(|error| fault(&error, PasskeyFault::Attestation))?;
    // The library goes by what the authenticator signed alone.
    if registered.cred_id != made.id {
        return Err(PasskeyFault::AuthenticatorData);
    }
    Ok(Passkey {
        origin: origin.clone(),
        id: registered.cred_id,
        backup_eligible: registered.backup_eligible,
        public: PublicKey::of(registered.cred).ok_or(PasskeyFault::Algorithm)?,
    })
}

/// What the library stores of a credential. Of its counter nothing is known: with 0 it is not
/// compared.
fn credential(passkey: &Passkey) -> Credential {
    Credential {
        cred_id: passkey.id.clone(),
        cred: passkey.public.key().clone(),
        counter: 0,
        transports: None,
        user_verified: true,
        backup_eligible: passkey.backup_eligible,
        backup_state: false,
        registration_policy: UserVerificationPolicy::Required,
        extensions: RegisteredExtensions::none(),
        attestation: ParsedAttestation {
            data: ParsedAttestationData::None,
            metadata: AttestationMetadata::None,
        },
        attestation_format: AttestationFormat::None,
    }
}

/// For passkeys of this origin alone: neither its subdomains nor its other ports.
fn core(origin: &Origin) -> Result<WebauthnCore, PasskeyFault> {
    let url = Url::parse(origin.as_str()).map_err(|_| PasskeyFault::ClientData)?;
    Ok(WebauthnCore::new_unsafe_experts_only(
        "Countermand",
        origin.host(),
        vec![url],
        Duration::ZERO,
        Some(false),
        Some(false),
    ))
}

fn challenge(text: &[u8]) -> String {
    BASE64.encode(Digest::of_bytes(text).as_bytes())
}

/// The library's own state, from the form in which it is stored. Where it has another form nothing
/// holds.
fn state<T: DeserializeOwned>(stored: Value) -> Result<T, PasskeyFault> {
    serde_json::from_value(stored).map_err(|_| PasskeyFault::DoesNotHold)
}

/// Without what the library would log: it quotes what anybody sent.
pub(super) fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    dispatcher::with_default(&Dispatch::none(), ask)
}

fn fault(error: &WebauthnError, otherwise: PasskeyFault) -> PasskeyFault {
    match error {
        WebauthnError::ParseJSONFailure(_) | WebauthnError::InvalidRPOrigin => {
            PasskeyFault::ClientData
        }
        WebauthnError::InvalidClientDataType => PasskeyFault::Type,
        WebauthnError::MismatchedChallenge => PasskeyFault::Challenge,
        WebauthnError::CredentialCrossOrigin => PasskeyFault::CrossOrigin,
        WebauthnError::ParseNOMFailure
        | WebauthnError::ParseCBORFailure(_)
        | WebauthnError::MissingAttestationCredentialData => PasskeyFault::AuthenticatorData,
        WebauthnError::InvalidRPIDHash => PasskeyFault::RelyingParty,
        WebauthnError::UserNotPresent => PasskeyFault::NotPresent,
        WebauthnError::UserNotVerified => PasskeyFault::NotVerified,
        WebauthnError::CredentialBackupEligibilityInconsistent
        | WebauthnError::CredentialMayNotBeHardwareBound => PasskeyFault::Backup,
        WebauthnError::COSEKeyInvalidCBORValue
        | WebauthnError::COSEKeyInvalidType
        | WebauthnError::COSEKeyInvalidAlgorithm
        | WebauthnError::COSEKeyECDSAInvalidCurve
        | WebauthnError::COSEKeyEDDSAInvalidCurve
        | WebauthnError::SshPublicKeyEDUnsupported
        | WebauthnError::COSEKeyRSANEInvalid
        | WebauthnError::COSEKeyECDSAXYInvalid
        | WebauthnError::COSEKeyEDDSAXInvalid
        | WebauthnError::EcdsaPointInvalid
        | WebauthnError::RsaParametersInvalid
        | WebauthnError::CredentialAlteredAlgFromRequest => PasskeyFault::Algorithm,
        _ => otherwise,
    }
}
