// Opens a desktop's page in headless Chromium as a person would, and waits for its picture: novnc.mjs URL SCREENSHOT
import puppeteer from 'puppeteer-core'

const TRIES = 4
const [url, screenshot] = process.argv.slice(2)
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM,
  acceptInsecureCerts: true,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
})

function isShown() {
  const canvas = document.querySelector('canvas')
  if (!document.documentElement.classList.contains('noVNC_connected') || !canvas?.width) return false
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  return new Set(new Uint32Array(data.buffer)).size > 5
}

// Chromium gives up what it loads whenever a network link of the host comes or goes (ERR_NETWORK_CHANGED), as those of
// containers do.
async function open(page, tries) {
  await page.goto(url)
  try {
    await page.waitForFunction(isShown, { timeout: 15_000, polling: 200 })
  } catch (error) {
    if (tries === 1) throw error
    await open(page, tries - 1)
  }
}

try {
  const page = await browser.newPage()
  await page.setViewport({ width: 1100, height: 800 })
  // A page that does not connect is worth a look too.
  await open(page, TRIES).finally(() => page.screenshot({ path: screenshot }))
  console.log('connected')
} finally {
  await browser.close()
}
