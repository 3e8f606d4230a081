// Vectors by a server that speaks as OpenAI's does: POST <url>/embeddings, the url ending in /v1. Asks for base64 (the
// floats themselves, little endian), takes numbers too.
#pragma once

#include "http_embedder.h"

namespace annal {

// The probe lists the models; a server without that list is well all the same. invalid_argument: see HttpEmbedder.
Result<std::unique_ptr<HttpEmbedder>> make_openai_embedder(HttpEmbedderOptions options);

}  // namespace annal
