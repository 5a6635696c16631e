# In PowerShell: .\quickstart.ps1, with arguments or without. Goes on in scripts\launch.ps1.
# Where scripts are forbidden: powershell -ExecutionPolicy Bypass -File .\quickstart.ps1
& "$PSScriptRoot\scripts\launch.ps1" quickstart @args
exit $LASTEXITCODE
