# Source: .github/CODEOWNERS of https://github.com/vercel/next.js at 05de0362e3980086c2c658e32db7463c7ce47a03, patterns only
* @o
/.github/ @o
/docs/ @o
/examples/ @o
/packages/next/build/ @o
/**/*image*/** @o
/examples/image-component/ @o
/packages/next/image.js @o
/packages/next/build/webpack/loaders/next-image-loader.js @o
/packages/next/client/use-intersection.tsx @o
/packages/next/image-types/ @o
/test/integration/image-optimizer/ @o
/test/unit/image-rendering.test.ts @o
