// Runs the suite in `folder`, or only the tests that are named, against the server at `base`.
// Prints JSON: what each test is (`tests`), and how it ended (`results`: true, or what was wrong).
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, base, ...ids] = process.argv.slice(2)
const load = path => import(pathToFileURL(`${folder}/${path}`))
const fetch = createRequire(pathToFileURL(`${folder}/`))('node-fetch')
const suites = [...(await load('tests/index.mjs')).default, (await load('tests/surrogate-control.mjs')).default]
const { runTests, getResults } = await load('client/runner.mjs')

const wanted = suites.map(suite => ({
  ...suite,
  tests: suite.tests.filter(test => !test.browser_only && (ids.length === 0 || ids.includes(test.id)))
}))
await runTests(wanted, fetch, false, base)
const tests = wanted.flatMap(suite => suite.tests.map(test => (
  { id: test.id, name: test.name, kind: test.kind ?? 'required', needs: test.depends_on ?? [] }
)))
process.stdout.write(JSON.stringify({ tests, results: getResults() }))
