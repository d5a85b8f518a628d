//! Looks at this machine (probe) and decides whether a model fits it (fit, a pure function).
