// Vectors by Ollama: POST <url>/api/embed. Text longer than the model takes is refused (invalid_argument), not cut.
#pragma once

#include "http_embedder.h"

namespace annal {

// The probe asks for the model: not_found when the server does not have it. invalid_argument: see HttpEmbedder.
Result<std::unique_ptr<HttpEmbedder>> make_ollama_embedder(HttpEmbedderOptions options);

}  // namespace annal
