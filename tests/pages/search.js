// Ask the search of a built site as a browser does: node search.js SITE < queries.json
// It prints, for each query, the places that are found, by page, best first.
const fs = require("fs")
const path = require("path")
const vm = require("vm")

const site = process.argv[2]
const read = (...names) => fs.readFileSync(path.join(site, ...names), "utf8")
const workers = path.join("assets", "javascripts", "workers")
const script = fs.readdirSync(path.join(site, workers)).find((it) => /^search.*\.js$/.test(it))

// The worker's side.
const listeners = []
let answer
const inside = {
  addEventListener: (_, listener) => listeners.push(listener),
  console: { ...console, warn: () => {} },
  performance,
  postMessage: (message) => (answer = message),
}
inside.self = inside
vm.runInNewContext(read(workers, script), inside)

// The page's side.
class Worker {
  async postMessage(message) {
    for (const listener of listeners) await listener({ data: message })
    return answer
  }
}
vm.runInNewContext(read("javascripts", "search.js"), { Worker })

async function main() {
  const { config, docs } = JSON.parse(read("search", "search_index.json"))
  const worker = new Worker()
  await worker.postMessage({ type: 0, data: { config, docs, options: {} } })
  const found = []
  for (const query of JSON.parse(fs.readFileSync(0, "utf8"))) {
    const { data } = await worker.postMessage({ type: 2, data: query })
    found.push(data.items.map((page) => page.map((it) => it.location)))
  }
  process.stdout.write(JSON.stringify(found))
}

main()
