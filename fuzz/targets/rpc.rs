//! JSON-RPC and MCP bodies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_inspect::jsonrpc::{self, Frame};
use tollgate_inspect::mcp;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frames) = jsonrpc::read(bytes) else { return };
    assert!(!frames.is_empty());
    for frame in &frames {
        let Frame::Call(call) = frame else { continue };
        if let Ok(Some(tool)) = mcp::tool(call)
            && let Some(arguments) = tool.arguments
        {
            for path in arguments.keys() {
                let _ = mcp::values(arguments, path);
            }
        }
    }
});
