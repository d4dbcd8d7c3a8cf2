// Makes a cell of a program that was written for a file: its imports and its variables are to last, and to be replaceable.
'use strict'
const ts = require('typescript')

const OPTIONS = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }

// rewrite(code, language): the same for Node's REPL. What cannot be parsed is left for Node to complain of.
function rewrite(code, language) {
  const script = language === 'typescript' ? ts.transpileModule(code, { compilerOptions: OPTIONS }).outputText : code
  const parsed = ts.createSourceFile('cell.js', script, ts.ScriptTarget.ES2022, true, ts.ScriptKind.JS)
  if (parsed.parseDiagnostics.length > 0) return script
  return parsed.statements.map((statement) => script.slice(statement.getFullStart(), statement.getStart()) + translate(statement)).join('') +
    script.slice(parsed.endOfFileToken.getFullStart())
}

function translate(statement) {
  const text = statement.getText()
  if (ts.isImportDeclaration(statement)) return translateImport(statement)
  if (ts.isExportDeclaration(statement) || ts.isExportAssignment(statement)) return ''
  const bare = text.replace(/^export\s+(default\s+)?/, '')
  // A cell may be run again: its declarations must not clash with what they declared before.
  return ts.isVariableStatement(statement) ? bare.replace(/^(const|let)\b/, 'var') : bare
}

function translateImport({ importClause: clause, moduleSpecifier }) {
  const module = `await import(${moduleSpecifier.getText()})`
  if (!clause) return `${module};`
  const named = clause.namedBindings
  const names = clause.name ? [`default: ${clause.name.text}`] : []
  if (named && ts.isNamedImports(named)) {
    names.push(...named.elements.map((one) => (one.propertyName ? `${one.propertyName.text}: ${one.name.text}` : one.name.text)))
  }
  const whole = named && ts.isNamespaceImport(named) ? `var ${named.name.text} = ${module};` : ''
  return (names.length > 0 ? `var { ${names.join(', ')} } = ${module};` : '') + whole
}

module.exports = { rewrite }
