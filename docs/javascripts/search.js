// The search has its own syntax. "--reload" asks for pages without that word, and "embedded://" for
// a field of that name: both find nothing. Readers mean what they type.
function plain(query) {
  return query
    .replace(/(^|\s)--?([\w-]+)/g, (_, before, name) => before + name.replace(/(^|-)(?=\w)/g, " +"))
    .replace(/[:^~*/(){}[\]=,|`]+/g, " ")
    .trim()
}

// The page sends each query to its search worker as a message of this type.
const QUERY = 2
const send = Worker.prototype.postMessage

Worker.prototype.postMessage = function (message, ...rest) {
  const query = message?.type === QUERY ? { ...message, data: plain(message.data) } : message
  return send.call(this, query, ...rest)
}
