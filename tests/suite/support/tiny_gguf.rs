//! Writes tiny GGUF models with seeded weights that real llama.cpp loads: a llama and a BERT embedder.

use std::fs;
use std::path::Path;

/// A conversation as ChatML writes it, with Python's `strip`.
pub(crate) const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n\
    {{ message['content'].strip() }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

const ALIGNMENT: usize = 32;
const WIDTH: u64 = 32;
const NUM_HEADS: u32 = 4;
const NUM_LAYERS: u32 = 2;
const FEED_FORWARD: u64 = 64;

/// Token kinds as GGUF numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// A GGUF under construction: metadata, then F32 tensors.
pub(crate) struct TinyGguf {
    metadata: Vec<u8>,
    num_metadata: u64,
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
    random: u64,
}

impl TinyGguf {
    pub(crate) fn new(architecture: &str) -> Self {
        let gguf = Self { metadata: Vec::new(), num_metadata: 0, tensors: Vec::new(), random: 0x5EED };
        gguf.text("general.architecture", architecture).text("general.name", "tiny")
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &string(value))
    }

    pub(crate) fn number(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn float(self, key: &str, value: f32) -> Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn flag(self, key: &str, value: bool) -> Self {
        self.entry(key, 7, &[u8::from(value)])
    }

    /// A vocabulary of so many words, about 17 bytes each.
    pub(crate) fn words(self, num_words: u32) -> Self {
        let words: Vec<Vec<u8>> = (0..num_words).map(|word| string(&format!("word{word:05}"))).collect();
        self.array("tokenizer.ggml.tokens", 8, &words)
    }

    fn array(self, key: &str, kind: u32, values: &[Vec<u8>]) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.concat());
        self.entry(key, 9, &bytes)
    }

    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.metadata.extend(string(key));
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.num_metadata += 1;
        self
    }

    /// A tensor of seeded numbers between -`scale` and `scale`.
    pub(crate) fn tensor(mut self, name: &str, dimensions: &[u64], scale: f32) -> Self {
        let count: u64 = dimensions.iter().product();
        let values = (0..count).map(|_| self.next_number() * scale).collect();
        self.tensors.push((name.to_owned(), dimensions.to_vec(), values));
        self
    }

    fn constant(mut self, name: &str, dimensions: &[u64], value: f32) -> Self {
        let count: u64 = dimensions.iter().product();
        self.tensors.push((name.to_owned(), dimensions.to_vec(), vec![value; count as usize]));
        self
    }

    /// Leaves a tensor out, so that llama.cpp refuses a file whose header is faultless.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.tensors.retain(|(kept, ..)| kept != name);
        self
    }

    /// xorshift64, so that the same weights come out on every machine.
    fn next_number(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.num_metadata.to_le_bytes());
        bytes.extend(&self.metadata);
        let mut data = Vec::new();
        for (name, dimensions, values) in &self.tensors {
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
            bytes.extend(string(name));
            bytes.extend((dimensions.len() as u32).to_le_bytes());
            bytes.extend(dimensions.iter().flat_map(|dimension| dimension.to_le_bytes()));
            bytes.extend(0u32.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(data);
        bytes
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.bytes()).unwrap();
    }
}

/// A llama of 2 layers with a byte-level vocabulary: it says gibberish, but always the same, and never its end.
pub(crate) fn tiny_llama(context_tokens: u32, chat_template: Option<&str>) -> TinyGguf {
    let mut gguf = byte_vocabulary(TinyGguf::new("llama"))
        .number("llama.context_length", context_tokens)
        .number("llama.embedding_length", WIDTH as u32)
        .number("llama.block_count", NUM_LAYERS)
        .number("llama.feed_forward_length", FEED_FORWARD as u32)
        .number("llama.attention.head_count", NUM_HEADS)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    if let Some(template) = chat_template {
        gguf = gguf.text("tokenizer.chat_template", template);
    }
    let vocabulary = byte_tokens().len() as u64;
    gguf = gguf.tensor("token_embd.weight", &[WIDTH, vocabulary], 1.0);
    for layer in 0..NUM_LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        gguf = gguf.constant(&name("attn_norm"), &[WIDTH], 1.0);
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            gguf = gguf.tensor(&name(part), &[WIDTH, WIDTH], 0.3);
        }
        gguf = gguf.constant(&name("ffn_norm"), &[WIDTH], 1.0);
        gguf = gguf.tensor(&name("ffn_gate"), &[WIDTH, FEED_FORWARD], 0.3);
        gguf = gguf.tensor(&name("ffn_up"), &[WIDTH, FEED_FORWARD], 0.3);
        gguf = gguf.tensor(&name("ffn_down"), &[FEED_FORWARD, WIDTH], 0.3);
    }
    gguf = gguf.constant("output_norm.weight", &[WIDTH], 1.0);
    gguf = gguf.tensor("output.weight", &[WIDTH, vocabulary], 1.0);
    mute_all_but_letters(&mut gguf);
    gguf
}

/// Logits of 0 for tokens that are no letters: among some dozen random ones, one is always above that.
fn mute_all_but_letters(gguf: &mut TinyGguf) {
    let (_, _, output) = gguf.tensors.last_mut().unwrap();
    for (index, (text, ..)) in byte_tokens().iter().enumerate() {
        let is_letter = text == "▁" || (text.len() == 1 && text.as_bytes()[0].is_ascii_lowercase());
        if !is_letter {
            output[index * WIDTH as usize..][..WIDTH as usize].fill(0.0);
        }
    }
}

/// `<unk> <s> </s>`, ChatML's two marks, the 256 bytes, a blank and the printable ASCII characters.
fn byte_tokens() -> Vec<(String, f32, i32)> {
    let mut tokens = vec![
        ("<unk>".to_owned(), 0.0, UNKNOWN),
        ("<s>".to_owned(), 0.0, CONTROL),
        ("</s>".to_owned(), 0.0, CONTROL),
        ("<|im_start|>".to_owned(), 0.0, CONTROL),
        ("<|im_end|>".to_owned(), 0.0, CONTROL),
    ];
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE)));
    tokens.push(("▁".to_owned(), -1.0, NORMAL));
    tokens.extend((b'!'..=b'~').map(|byte| (char::from(byte).to_string(), -2.0, NORMAL)));
    tokens
}

fn byte_vocabulary(gguf: TinyGguf) -> TinyGguf {
    let tokens = byte_tokens();
    let texts: Vec<Vec<u8>> = tokens.iter().map(|(text, ..)| string(text)).collect();
    let scores: Vec<Vec<u8>> = tokens.iter().map(|(_, score, _)| score.to_le_bytes().to_vec()).collect();
    let kinds: Vec<Vec<u8>> = tokens.iter().map(|(.., kind)| kind.to_le_bytes().to_vec()).collect();
    gguf.text("tokenizer.ggml.model", "llama")
        .array("tokenizer.ggml.tokens", 8, &texts)
        .array("tokenizer.ggml.scores", 6, &scores)
        .array("tokenizer.ggml.token_type", 5, &kinds)
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.unknown_token_id", 0)
}

/// A BERT of 2 layers, 64 tokens and 32 dimensions with mean pooling; its words are letters and a few whole words.
pub(crate) fn tiny_bert() -> TinyGguf {
    let context_tokens = 64u32;
    let mut gguf = word_vocabulary(TinyGguf::new("bert"))
        .number("bert.context_length", context_tokens)
        .number("bert.embedding_length", WIDTH as u32)
        .number("bert.block_count", NUM_LAYERS)
        .number("bert.feed_forward_length", FEED_FORWARD as u32)
        .number("bert.attention.head_count", NUM_HEADS)
        .float("bert.attention.layer_norm_epsilon", 1e-12)
        .flag("bert.attention.causal", false)
        .number("bert.pooling_type", 1);
    gguf = gguf
        .tensor("token_embd.weight", &[WIDTH, word_tokens().len() as u64], 1.0)
        .tensor("token_types.weight", &[WIDTH, 2], 0.1)
        .tensor("position_embd.weight", &[WIDTH, u64::from(context_tokens)], 0.1)
        .constant("token_embd_norm.weight", &[WIDTH], 1.0)
        .constant("token_embd_norm.bias", &[WIDTH], 0.0);
    for layer in 0..NUM_LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            gguf = gguf.tensor(&name(&format!("{part}.weight")), &[WIDTH, WIDTH], 0.2);
            gguf = gguf.constant(&name(&format!("{part}.bias")), &[WIDTH], 0.0);
        }
        for part in ["attn_output_norm", "layer_output_norm"] {
            gguf = gguf.constant(&name(&format!("{part}.weight")), &[WIDTH], 1.0);
            gguf = gguf.constant(&name(&format!("{part}.bias")), &[WIDTH], 0.0);
        }
        gguf = gguf.tensor(&name("ffn_up.weight"), &[WIDTH, FEED_FORWARD], 0.2);
        gguf = gguf.constant(&name("ffn_up.bias"), &[FEED_FORWARD], 0.0);
        gguf = gguf.tensor(&name("ffn_down.weight"), &[FEED_FORWARD, WIDTH], 0.2);
        gguf = gguf.constant(&name("ffn_down.bias"), &[WIDTH], 0.0);
    }
    gguf
}

/// In a GGUF a word's beginning is marked with `▁`, its continuation with nothing.
fn word_tokens() -> Vec<(String, i32)> {
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let mut tokens: Vec<(String, i32)> = marks.map(|mark| (mark.to_owned(), CONTROL)).to_vec();
    tokens[1].1 = UNKNOWN;
    for letter in 'a'..='z' {
        tokens.push((format!("▁{letter}"), NORMAL));
        tokens.push((letter.to_string(), NORMAL));
    }
    tokens.extend(["▁water", "▁clean", "▁solar", "▁panel"].map(|word| (word.to_owned(), NORMAL)));
    tokens
}

fn word_vocabulary(gguf: TinyGguf) -> TinyGguf {
    let tokens = word_tokens();
    let texts: Vec<Vec<u8>> = tokens.iter().map(|(text, _)| string(text)).collect();
    let kinds: Vec<Vec<u8>> = tokens.iter().map(|(_, kind)| kind.to_le_bytes().to_vec()).collect();
    gguf.text("tokenizer.ggml.model", "bert")
        .array("tokenizer.ggml.tokens", 8, &texts)
        .array("tokenizer.ggml.token_type", 5, &kinds)
        .number("tokenizer.ggml.token_type_count", 2)
        .number("tokenizer.ggml.padding_token_id", 0)
        .number("tokenizer.ggml.unknown_token_id", 1)
        .number("tokenizer.ggml.bos_token_id", 2)
        .number("tokenizer.ggml.cls_token_id", 2)
        .number("tokenizer.ggml.seperator_token_id", 3)
        .number("tokenizer.ggml.eos_token_id", 3)
        .number("tokenizer.ggml.mask_token_id", 4)
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
