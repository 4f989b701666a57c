//! host-agent.
