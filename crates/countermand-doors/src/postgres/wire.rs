//! The frontend/backend protocol 3.0: bytes to messages and back.
