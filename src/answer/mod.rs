//! What the model is told, which passages it may cite, and when "not in your documents" is the answer.
