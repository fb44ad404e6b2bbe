//! Any bytes as a first packet and as messages of both sides; what is read is written the same.
#![no_main]

use bytes::BytesMut;
use countermand_doors::postgres::wire::{Backend, Framer, Frontend, startup};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = startup(&mut BytesMut::from(data));
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = Framer::new(1 << 20).next(&mut buffer) {
        let _ = Backend::decode(frame.clone());
        let Ok(message) = Frontend::decode(frame.clone()) else { continue };
        let (mut before, mut after) = (BytesMut::new(), BytesMut::new());
        if message.encode(&mut after).is_ok() {
            frame.encode(&mut before).expect("it came out of a frame");
            assert_eq!(before, after);
        }
    }
});
