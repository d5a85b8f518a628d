//! Reading a prompt and saying an answer, token by token.

use std::io::Write;
use std::time::Instant;

use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use crate::engine::message::{Failure, Finish, GenerateRequest, Generated, Prompt, Reply, Sampling};

use super::Trouble;
use super::link::Link;
use super::model::{BATCH_TOKENS, Session};
use super::stream::TextStream;
use super::template;

/// How far back repetition is seen, in tokens.
const PENALTY_TOKENS: i32 = 64;

impl Session<'_> {
    /// Reads the prompt and says the answer, until one of the reasons in [`Finish`].
    pub(super) fn generate<W: Write>(
        &mut self,
        request: &GenerateRequest,
        link: &mut Link<W>,
    ) -> Result<(), Trouble> {
        link.begin();
        if self.is_embedder {
            return Err(Failure::WrongUse { reason: "the model was loaded as an embedder".into() }.into());
        }
        let (tokens, trims_start) = self.prompt_tokens(request)?;
        let context_tokens = self.context_tokens();
        if tokens.len() >= context_tokens as usize {
            return Err(Failure::TooLong { prompt_tokens: tokens.len(), context_tokens }.into());
        }
        let started = Instant::now();
        let reused = self.keep_common_prefix(&tokens);
        let is_read = self.read_prompt(&tokens, reused, link)?;
        let read = Instant::now();
        let stream = TextStream::new(&request.stop, trims_start);
        let (finish, new_tokens) =
            if is_read { self.say(request, stream, link)? } else { (Finish::Stopped, 0) };
        let generated = Generated {
            finish,
            prompt_tokens: small(tokens.len()),
            reused_tokens: small(reused),
            new_tokens,
            prompt_ms: millis(started, read),
            answer_ms: millis(read, Instant::now()),
        };
        Ok(link.send(&Reply::Generated(generated))?)
    }

    /// The prompt's tokens, never none; and whether blanks before the answer are to be dropped.
    fn prompt_tokens(&self, request: &GenerateRequest) -> Result<(Vec<LlamaToken>, bool), Trouble> {
        let (mut tokens, trims_start) = match &request.prompt {
            Prompt::Raw(text) => (self.loaded.tokenize(text, true, false), text.is_empty()),
            Prompt::Chat(messages) => {
                let text = template::render(self.loaded, messages, request.thinks)?;
                let begin = self.loaded.begin_text();
                let has_begin = !begin.is_empty() && text.starts_with(&begin);
                (self.loaded.tokenize(&text, !has_begin, true), true)
            }
        };
        if tokens.is_empty() {
            tokens.extend(self.loaded.begin_token());
        }
        if tokens.is_empty() {
            return Err(Failure::WrongUse {
                reason: "this model cannot begin from nothing; give a text".into(),
            }
            .into());
        }
        Ok((tokens, trims_start))
    }

    /// Forgets what the context holds beyond its common beginning with `tokens`; returns that beginning's length.
    ///
    /// The last token is always computed anew, because its logits are needed.
    fn keep_common_prefix(&mut self, tokens: &[LlamaToken]) -> usize {
        let common = self.cached.iter().zip(tokens).take_while(|(left, right)| left == right).count();
        let common = common.min(tokens.len() - 1);
        let is_kept = u32::try_from(common)
            .is_ok_and(|start| self.context.clear_kv_cache_seq(Some(0), Some(start), None).unwrap_or(false));
        // Recurrent models cannot forget a part.
        if !is_kept {
            self.context.clear_kv_cache();
        }
        self.cached.truncate(if is_kept { common } else { 0 });
        self.cached.len()
    }

    /// Computes the prompt from `start` on; false when the reader did not want to wait for its end.
    fn read_prompt<W: Write>(
        &mut self,
        tokens: &[LlamaToken],
        start: usize,
        link: &mut Link<W>,
    ) -> Result<bool, Trouble> {
        for group in tokens[start..].chunks(BATCH_TOKENS as usize) {
            if link.should_stop() {
                return Ok(false);
            }
            self.compute(group)?;
            let (done_tokens, total_tokens) = (small(self.cached.len()), small(tokens.len()));
            link.send(&Reply::Prompt { done_tokens, total_tokens })?;
        }
        Ok(true)
    }

    fn compute(&mut self, tokens: &[LlamaToken]) -> Result<(), Failure> {
        let failed = |reason: String| Failure::Compute { reason };
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (index, token) in tokens.iter().enumerate() {
            let position =
                i32::try_from(self.cached.len() + index).map_err(|error| failed(error.to_string()))?;
            batch
                .add(*token, position, &[0], index + 1 == tokens.len())
                .map_err(|error| failed(error.to_string()))?;
        }
        if let Err(error) = self.context.decode(&mut batch) {
            // Which of the tokens are in is not known; begin from nothing the next time.
            self.context.clear_kv_cache();
            self.cached.clear();
            return Err(failed(error.to_string()));
        }
        self.cached.extend_from_slice(tokens);
        Ok(())
    }

    fn say<W: Write>(
        &mut self,
        request: &GenerateRequest,
        mut stream: TextStream,
        link: &mut Link<W>,
    ) -> Result<(Finish, u32), Trouble> {
        let mut sampler = sampler(&request.sampling, self.loaded.num_tokens());
        let max_tokens = request.max_tokens.unwrap_or(u32::MAX);
        let mut new_tokens = 0;
        let finish = loop {
            if link.should_stop() {
                break Finish::Stopped;
            }
            if new_tokens >= max_tokens {
                break Finish::Length;
            }
            let token = sampler.sample(&self.context, -1);
            if self.loaded.ends_answer(token) {
                break Finish::End;
            }
            new_tokens += 1;
            let pushed = stream.push(&self.loaded.piece(token));
            if !pushed.text.is_empty() {
                link.send(&Reply::Text { text: pushed.text })?;
            }
            if pushed.is_stopped {
                return Ok((Finish::StopText, new_tokens));
            }
            if self.cached.len() >= self.context_tokens() as usize {
                break Finish::Context;
            }
            if new_tokens < max_tokens {
                self.compute(&[token])?;
            }
        };
        let rest = stream.finish();
        if !rest.is_empty() {
            link.send(&Reply::Text { text: rest })?;
        }
        Ok((finish, new_tokens))
    }
}

fn sampler(sampling: &Sampling, num_tokens: i32) -> LlamaSampler {
    let mut chain = Vec::new();
    if sampling.repeat_penalty.is_finite() && sampling.repeat_penalty > 0.0 && sampling.repeat_penalty != 1.0
    {
        chain.push(LlamaSampler::penalties(num_tokens, PENALTY_TOKENS, sampling.repeat_penalty, 0.0, 0.0));
    }
    if sampling.temperature > 0.0 && sampling.temperature.is_finite() {
        chain.push(LlamaSampler::top_k(sampling.top_k));
        chain.push(LlamaSampler::top_p(sampling.top_p, 1));
        chain.push(LlamaSampler::min_p(sampling.min_p, 1));
        chain.push(LlamaSampler::temp(sampling.temperature));
        chain.push(LlamaSampler::dist(sampling.seed));
    } else {
        chain.push(LlamaSampler::greedy());
    }
    LlamaSampler::chain(chain, true)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX)
}
