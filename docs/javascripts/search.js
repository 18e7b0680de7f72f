// The search of the site takes a hyphen before a word as "without this word", and two of them as
// an error that finds nothing. So "--max-retries", as people copy it, becomes "max-retries".
document.addEventListener("input", ({ target }) => {
  if (!target.matches("[data-md-component=search-query]")) return
  const plain = target.value.replace(/(^|\s)--+(?=\S)/g, "$1")
  if (plain !== target.value) target.value = plain
})
