// Evaluates cells in Node's REPL, which knows top-level await and can be interrupted. Each line of standard input is a
// cell as a JSON string; each answer is a line of JSON on the descriptor that ANSWERS_FD names.
'use strict'
const domain = require('node:domain')
const fs = require('node:fs')
const { PassThrough } = require('node:stream')
const readline = require('node:readline')
const repl = require('node:repl')
const util = require('node:util')
const { rewrite } = require('./rewrite.js')

const answers = Number(process.env.ANSWERS_FD)
delete process.env.ANSWERS_FD
delete process.env.NODE_PATH
const language = process.argv[2]
// What a cell throws does not come back from the REPL's eval; it goes to this domain.
const errors = domain.create()
const shell = repl.start({
  input: new PassThrough(),
  output: new PassThrough().resume(),
  prompt: '',
  useGlobal: true,
  breakEvalOnSigint: true,
  domain: errors,
})
let fail = null
errors.on('error', (error) => (fail ?? console.error)(error))
const interrupt = () => fail?.(new Error('Script execution was interrupted by `SIGINT`'))
process.on('SIGINT', interrupt)

function evaluate(code) {
  return new Promise((resolve, reject) => {
    fail = reject
    // Code that does not wait is interrupted by the REPL itself; beside a listener of ours SIGINT would end the process.
    process.off('SIGINT', interrupt)
    shell.eval(`${code}\n`, shell.context, 'cell', (error, value) => {
      // A promise as the value is waited for, as it would be with await.
      if (error) reject(error instanceof repl.Recoverable ? error.err : error)
      else resolve(value)
    })
    process.on('SIGINT', interrupt)
  })
}

function describe(error) {
  if (!util.types.isNativeError(error)) error = { name: 'Error', message: util.inspect(error) }
  const stack = error.stack ?? `${error.name}: ${error.message}`
  return { error: { name: error.name, value: error.message, traceback: stack.split('\n') } }
}

async function run(code) {
  try {
    const value = await evaluate(rewrite(code, language))
    return value === undefined ? {} : { text: util.inspect(value) }
  } catch (error) {
    return describe(error)
  } finally {
    fail = null
  }
}

// One cell after the other: readline would hand out the next while one waits.
let turn = Promise.resolve()
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  turn = turn.then(() => run(JSON.parse(line))).then((answer) => fs.writeSync(answers, `${JSON.stringify(answer)}\n`))
}).on('close', () => process.exit())
