"""O conferidor dos alunos: as regras contra o servidor, cada uma contra o seu defeito, e ele contra programas ruins."""

import csv
import dataclasses
import json
import re
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import conferir as modulo
import pytest
from conferidor import processo
from conferidor.dialogo import Falha, Fita
from conferidor.palco import Alvo, Palco, Resultado, conferir, conferir_uma
from conferidor.programa import PROGRAMA, Cena
from conferidor.regras import SERVIDOR
from defeitos import DEFEITOS
from mutantes import RAIZ, Troca, copia_com
from participante import PRAZO
from test_documentos import ancoras
from test_protocolo import casos

DE_PROCESSO = "fim-servidor", "fim-servidor-codigo"  # interrompem o servidor
DEMORADAS = "rede-mil-conexoes", "rede-nao-le"
# O último passo da aula: cumpre as regras do começo, e sobe em menos tempo que o nosso.
PASSO = max((RAIZ / "docs" / "passos").glob("passo*.py"))


def comando(programa: str | Path = "servidor.py", raiz: Path = RAIZ) -> str:
    return f'"{sys.executable}" -S "{raiz / programa}" --porta {{porta}}'


def falhas(resultados) -> list[str]:
    return [f"{um.regra.id}: {um.falha} {um.depois}" for um in resultados if um.falha]


# --- As regras contra o servidor ------------------------------------------------------------------


@pytest.mark.parametrize("nome", [nome for nome in SERVIDOR.regras if nome not in DE_PROCESSO + DEMORADAS])
def test_regra(servidor, nome):
    """O servidor, vigiado, cumpre a regra."""

    def montar(alvo: Alvo) -> Palco:
        no_ar = SimpleNamespace(codigo=lambda prazo=0.0: None, mata=lambda: None)
        return Palco(alvo, servidor.server_address[1], no_ar)

    resultado = conferir_uma(SERVIDOR.regras[nome], Alvo("", prazo=PRAZO), montar)
    assert resultado.falha is None, "\n".join([str(resultado.falha), *resultado.fita])


def test_as_regras_que_interrompem_o_servidor():
    """Com Ctrl+C, todos leem a despedida e o processo acaba com código 0."""
    assert not falhas(conferir(SERVIDOR.escolher(so=DE_PROCESSO), Alvo(comando(), prazo=PRAZO)))


@pytest.mark.demorado
def test_todas_as_regras_com_um_servidor_para_cada():
    """Como um aluno as roda: um processo por regra, mil conexões, e quem não lê."""
    assert not falhas(conferir(SERVIDOR.escolher(), Alvo(comando(), prazo=PRAZO)))


def test_a_pagina_conta_as_regras():
    """A tabela dos níveis diz quantas são."""
    pagina = (RAIZ / "docs" / "conferir.md").read_text(encoding="utf-8")
    niveis = [regra.nivel for regra in SERVIDOR.regras.values()]
    ditas = re.findall(r"^\| (\d) \| .* \| (\d+) \|$", pagina, re.MULTILINE)
    assert [(int(nivel), int(quantas)) for nivel, quantas in ditas] == sorted(Counter(niveis).items())


def test_cada_regra_aponta_o_que_existe():
    """De cada regra, a seção da página do protocolo e os arquivos da dica existem."""
    pagina = (RAIZ / "docs" / "protocolo.md").read_text(encoding="utf-8")
    for regra in [*SERVIDOR.regras.values(), *PROGRAMA.regras.values()]:
        assert regra.ancora in ancoras(pagina), regra.id
        lugares = re.findall(r"[\w/]+\.(?:py|md)", regra.dica)
        assert lugares and all((RAIZ / lugar).exists() for lugar in lugares), regra.dica


# --- Cada regra contra o seu defeito --------------------------------------------------------------


def passam_com_o_defeito(*nomes: str) -> list[str]:
    """Das regras, as que passam mesmo com o defeito que as devia fazer falhar."""

    def passa(nome: str) -> bool:
        with copia_com(Troca(*DEFEITOS[nome])) as copia:
            falha = conferir_uma(SERVIDOR.regras[nome], Alvo(comando(raiz=copia), prazo=1.5, subida=PRAZO)).falha
            return falha is None or "aceita conexões" in falha.esperado  # o que nem sobe não prova nada

    with ThreadPoolExecutor(4) as threads:
        return [nome for nome, passou in zip(nomes, threads.map(passa, nomes), strict=True) if passou]


def test_cada_regra_tem_um_defeito_que_se_pode_plantar():
    """A tabela tem as regras todas, e só elas; o trecho de cada defeito ainda existe."""
    assert list(DEFEITOS) == list(SERVIDOR.regras)
    for defeito in DEFEITOS.values():
        Troca(*defeito).plantado()


def test_uma_amostra_dos_defeitos():
    """Um defeito, apontado pela sua regra."""
    assert not passam_com_o_defeito("json-pergunta")


@pytest.mark.demorado
def test_todos_os_defeitos():
    """Cada defeito é apontado pela sua regra."""
    assert not passam_com_o_defeito(*DEFEITOS)


# --- O conferidor contra programas ruins ----------------------------------------------------------

RUIM = """
import os, socket, sys
escuta = socket.create_server(("127.0.0.1", int(sys.argv[-1])))
aceitas = []
while True:
    c, _ = escuta.accept()
    aceitas.append(c)
    {}
"""


def ruim(pasta: Path, faz: str) -> str:
    """O comando de um servidor que faz isto com cada conexão que aceita."""
    (pasta / "ruim.py").write_text(RUIM.format(faz), encoding="utf-8")
    return comando("ruim.py", pasta)


# O que cada um faz, o que a regra diz que veio, e o prazo, curto só para o que nunca vem.
RUINS = {
    "nao-responde": ("pass", "nada em 0.3 s", 0.3),
    "fecha": ("c.close()", "o fim do fluxo", PRAZO),
    "fala-sem-fim-de-linha": ('c.sendall(b"NOME:")', "nada em .*; só meia linha, .*NOME:", 1.0),
    "responde-lixo": ('c.sendall(b"\\xff\\xfe\\n")', "bytes que não são UTF-8", PRAZO),
    "responde-outra-coisa": ('c.sendall(b"Bem-vindo!\\n")', "nada em .*, depois de 'Bem-vindo!'", 0.3),
    "corta-no-meio": ('c.sendall(b"NOM"); c.close()', "no meio de uma linha", PRAZO),
    "inunda": ('while True: c.sendall(b"x" * 99999)', "nada em .*; só meia linha|bytes, e não para", 1.0),
    "inunda-de-avisos": ('while True: c.sendall(b"AVISO:oi\\n" * 9999)', "nada em 0.3 s|bytes, e não para", 0.3),
    "morre": ('c.recv(9); print("quebrei", flush=True); os._exit(1)', "o fim do fluxo", PRAZO),
}


@pytest.fixture(scope="module")
def dos_ruins(tmp_path_factory) -> dict[str, Resultado]:
    """O que a regra viu de cada um; todos ao mesmo tempo."""

    def ver(qual: str) -> Resultado:
        faz, _, prazo = RUINS[qual]
        alvo = Alvo(ruim(tmp_path_factory.mktemp(qual), faz), prazo=prazo, subida=PRAZO)
        return conferir_uma(SERVIDOR.regras["tipo-cliente"], alvo)

    with ThreadPoolExecutor(len(RUINS)) as threads:
        return dict(zip(RUINS, threads.map(ver, RUINS), strict=True))


@pytest.mark.parametrize("qual", RUINS)
def test_o_servidor_ruim_tem_o_seu_relato(dos_ruins, qual):
    """Faça o que fizer, a regra acaba no prazo e diz o que viu."""
    resultado = dos_ruins[qual]
    assert re.search(RUINS[qual][1], resultado.falha.veio)
    assert qual != "morre" or resultado.depois == "o servidor terminou com código 1, dizendo: quebrei"


def test_quem_desfaz_a_conexao_tem_o_seu_relato(tmp_path):
    """Também quando a regra só queria saber se há o que ler."""
    com_rst = ruim(tmp_path, 'c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0" + bytes(4)); c.close()')
    assert conferir_uma(SERVIDOR.regras["tipo-calado"], Alvo(com_rst, subida=PRAZO)).falha.veio == "o fim do fluxo"


OUTRA_PORTA = "Ele aceita na porta que recebe"


@casos(
    "linha, veio",
    {
        "comando-que-nao-existe": ("programa-que-nao-existe {porta}", "não existe"),
        "aspas-abertas": ("'python {porta}", "aspas que não fecham|não existe"),
        "uma-pasta": ("/ {porta}", "."),
        "erro": (f'"{sys.executable}" -c "1/0" {{porta}}', "terminou com código 1, dizendo: ZeroDivisionError"),
        "outra-porta": (f'"{sys.executable}" -c "input()" {{porta}}', OUTRA_PORTA),
    },
)
def test_o_servidor_que_nao_sobe_e_dito_uma_vez(linha, veio, capsys):
    """Sem servidor não há regras: um relato só, e nenhum traceback."""
    resultados = modulo.mostrar(
        modulo.conferir_o_que_sobe(SERVIDOR.escolher(), Alvo(linha, subida=PRAZO if veio != OUTRA_PORTA else 0.3)),
        niveis=True,
    )
    saida = capsys.readouterr().out
    assert re.search(veio, resultados[0].falha.veio) and saida.count("FALHOU") == 1
    assert saida.endswith("nenhum nível completo\n") and saida.count("terminou com") <= 1


def test_o_programa_que_nao_se_conecta_e_dito_uma_vez(capsys):
    """O mesmo, do outro lado."""
    alvo = Alvo(f'"{sys.executable}" -c "" {{porta}}', subida=PRAZO)
    assert modulo.mostrar(modulo.conferir_o_que_sobe(PROGRAMA.escolher(), alvo, Cena), niveis=True)
    assert capsys.readouterr().out.count("FALHOU") == 1


def test_o_acento_solto_aparece_escrito():
    """Na tela, o que se esperava e o que veio seriam iguais."""
    resultado = Resultado(SERVIDOR.regras["nome-nfc"], Falha("'Jos\xe9'", "'Jose\u0301'"))
    assert "\n".join(modulo.relato(resultado)).count("Jos") == 2
    assert r"  veio:     'Jose\u0301'" in modulo.relato(resultado)


def test_quem_interrompe_nao_espera_por_um_palco_que_ainda_se_montava():
    """O que acaba de subir fecha-se logo, e a regra já o encontra fechado."""
    interrompido, montava, fechados, vistos = threading.Event(), threading.Event(), [], []

    def montar(_):
        palco = SimpleNamespace(fita=Fita(), depois=str)
        palco.fecha = lambda: fechados.append(palco) or fechados.count(palco) == 2 and interrompido.set()
        if fechados:  # o segundo
            montava.set()
            assert interrompido.wait(PRAZO)
        return palco

    regra = dataclasses.replace(SERVIDOR.regras["tipo-calado"], dialogo=lambda palco: vistos.append(palco in fechados))
    rodando = conferir([regra, regra], Alvo("x"), montar, juntas=1)
    next(rodando)
    assert montava.wait(PRAZO)
    rodando.close()
    assert vistos == [False, True]


def test_nenhum_programa_nasce_enquanto_se_experimenta_uma_porta(monkeypatch):
    """Ao nascer, ele teria por um instante a porta que se experimenta, e quem a recebe a acharia ocupada."""
    vistos = []

    class Vigiado(socket.socket):
        def bind(self, endereco):
            vistos.append(processo.NASCENDO.locked())

    def nascer(*_, **__):
        vistos.append(processo.NASCENDO.locked())
        raise FileNotFoundError

    monkeypatch.setattr(processo.socket, "socket", Vigiado)
    monkeypatch.setattr(processo.subprocess, "Popen", nascer)
    with pytest.raises(Falha, match="não existe"):
        processo.Processo("servidor {porta}", processo.porta_livre())
    assert vistos == [True, True]


def test_o_relato(tmp_path, capsys):
    """A falha traz a frase, a ligação, a fita, o esperado, o que veio e a dica; no fim, quantas e que nível."""
    servidor = ruim(tmp_path, 'c.sendall("Olá!\\n".encode())')
    assert modulo.main(["--comando", servidor, "--so", "tipo-cliente,tipo-atendente", "--prazo", "0.3"]) == 1
    saida = capsys.readouterr().out
    relato = saida.partition("FALHOU  tipo-atendente")[0]
    for trecho in (
        "(docs/protocolo.md#identificação)",
        "Yuri   C → S      8 bytes  'CLIENTE\\n'",
        "dica:     É o começo",
    ):
        assert trecho in relato
    assert "esperado: Yuri lê 'NOME:'\n  veio:     nada em 0.3 s, depois de 'Olá!'" in relato
    assert "b'Ol\\xc3\\xa1!\\n'" in relato  # os bytes, quando o texto não diz tudo
    assert "\n0 de 2 regras" in saida


def test_o_nivel_completo_e_o_json(tmp_path, capsys):
    """Código 0 com o nível pedido completo; o arquivo traz cada regra."""
    opcoes = "--nivel", "1", "--prazo", str(PRAZO), "--json", str(tmp_path / "notas.json")
    assert modulo.main(["--comando", comando(PASSO), *opcoes]) == 0
    assert "\n12 de 12 regras; nível 1 completo\n" in capsys.readouterr().out
    notas = json.loads((tmp_path / "notas.json").read_text(encoding="utf-8"))
    assert (notas["passaram"], notas["regras"], notas["nivel"]) == (12, 12, 1)
    assert [nota["regra"] for nota in notas["resultados"]] == [regra.id for regra in SERVIDOR.escolher(nivel=1)]


@casos("falhou, nivel", {"nada": ([], 6), "no-primeiro": ([1, 4], 0), "no-quarto": ([6, 4], 3)})
def test_o_nivel_e_o_anterior_a_primeira_falha(falhou, nivel):
    """Um nível está completo se tudo nele e nos anteriores passou."""
    faltam = list(falhou)
    resultados = []
    for regra in SERVIDOR.escolher():
        falha = faltam.remove(regra.nivel) or ValueError() if regra.nivel in faltam else None
        resultados.append(Resultado(regra, falha))
    assert modulo.nivel_completo(resultados) == nivel


def test_a_turma(tmp_path, capsys):
    """Uma linha por aluno, na tela e no CSV, também de quem não entregou ou não sobe."""
    do_bloco_de_notas, do_powershell = f"{comando(PASSO)}\n".encode("utf-8-sig"), comando(PASSO).encode("utf-16")
    entregas = {"Ana": do_bloco_de_notas, "Bia": None, "Caio": b"x {porta}", "Duda": do_powershell, "Eva": b"java Eva"}
    for aluno, escrito in entregas.items():
        (tmp_path / aluno).mkdir()
        if escrito:
            (tmp_path / aluno / "comando.txt").write_bytes(escrito)
    notas = tmp_path / "notas.csv"
    assert modulo.main(["--turma", str(tmp_path), "--csv", str(notas), "--so", "tipo-c", "--prazo", str(PRAZO)]) == 1
    ana, bia, caio, duda, eva = capsys.readouterr().out.splitlines()
    assert ana.split() == ["Ana", "2", "de", "2", "regras"] and duda.split() == ["Duda", "2", "de", "2", "regras"]
    assert "não há comando.txt" in bia and "não existe" in caio and "'java Eva'" in eva
    with notas.open(encoding="utf-8-sig", newline="") as aberto:
        cabecalho, *linhas = csv.reader(aberto)
    assert cabecalho == ["aluno", "passaram", "regras", "nivel", "tipo-cliente", "tipo-calado"]
    assert [linha[:3] for linha in linhas] == [[aluno, "2" if aluno in "Ana Duda" else "0", "2"] for aluno in entregas]


@casos("programa", {"exe": "serve.exe", "sem-exe": "serve", "com-ponto": "./serve.exe", "com-aspas": '"serve.exe"'})
def test_no_windows_o_programa_do_aluno_esta_na_pasta_dele(tmp_path, programa):
    """Lá ele se procuraria na pasta de quem o lança."""
    (tmp_path / "serve.exe").touch()
    com_o_caminho = processo.com_o_caminho(f"{programa} {{porta}} -v", tmp_path)
    assert re.fullmatch(r'"(.*?)(?:\.exe)?" {porta} -v', com_o_caminho)[1] == str(tmp_path / "serve")
    assert processo.com_o_caminho("python serve.exe", tmp_path) == "python serve.exe"


@casos(
    "opcoes, erro",
    {
        "nada": ([], "diga o que conferir"),
        "dois": (["--comando", "x {porta}", "--turma", "."], "diga o que conferir"),
        "sem-porta": (["--comando", "java Servidor"], "precisa de {porta}"),
        "regra-que-nao-ha": (["--regras", "--so", "fila,voar"], "nenhuma regra começa por 'voar'"),
        "nivel": (["--regras", "--nivel", "7"], "--nivel vai de 1 a 6"),
        "prazo": (["--regras", "--prazo", "já"], "a opção --prazo não aceita 'já'"),
        "pasta": (["--turma", "pasta-que-nao-ha"], "não existe"),
        "turma-vazia": (["--turma", str(RAIZ / "docs" / "img")], "não tem uma subpasta"),
        "csv-sem-turma": (["--comando", "x {porta}", "--csv", "notas.csv"], "--csv é para --turma"),
        "nao-se-grava": (["--comando", "x {porta}", "--json", str(RAIZ)], "não foi possível gravar em"),
        "opcao": (["--regras", "--tudo"], "opção desconhecida: --tudo"),
    },
)
def test_o_uso_errado(opcoes, erro, capsys):
    """Código 2, e uma frase."""
    with pytest.raises(SystemExit, match="2"):
        modulo.main(opcoes)
    assert erro in capsys.readouterr().err


# --- O programa do aluno --------------------------------------------------------------------------


@casos(
    "programa, regras",
    {
        "cliente": ("cliente.py", ["programa-nome", "programa-fala", "programa-depois", "programa-teclado"]),
        "atendente": ("atendente.py", ["programa-tipo", "programa-depois"]),
    },
)
def test_os_programas_de_terminal(programa, regras):
    """Os nossos cumprem uma amostra das regras do outro lado."""
    assert not falhas(conferir(PROGRAMA.escolher(so=regras), Alvo(comando(programa), prazo=PRAZO), Cena))


@pytest.mark.demorado
@casos("programa", {"cliente": "cliente.py", "atendente": "atendente.py"})
def test_os_programas_de_terminal_em_tudo(programa):
    """E todas as outras."""
    assert not falhas(conferir(PROGRAMA.escolher(), Alvo(comando(programa), prazo=PRAZO), Cena))


@casos(
    "faz, falham",
    {
        "nao-se-conecta": ("", {"conecta", "tipo", "fim"}),
        "traceback": ("s.sendall(b'CLIENTE\\n'); s.recv(99); 1/0", {"nome", "fim"}),
        "um-recv": ("s.sendall(b'CLIENTE\\n')\nwhile True: print(s.recv(1024).decode())", {"nome"}),
    },
)
def test_o_programa_ruim_tem_o_seu_relato(tmp_path, faz, falham):
    """Faça o que fizer o programa, cada regra acaba no prazo e diz o que viu."""
    programa = "import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[-1])))\n" + faz
    (tmp_path / "ruim.py").write_text(programa if faz else "", encoding="utf-8")
    regras = [regra for regra in PROGRAMA.escolher() if regra.id[9:] in ("conecta", "tipo", "nome", "fim")]
    resultados = list(conferir(regras, Alvo(comando("ruim.py", tmp_path), prazo=0.3, subida=PRAZO), Cena))
    assert {um.regra.id[9:] for um in resultados if um.falha} >= falham
    assert not any("Traceback" in linha for um in resultados for linha in (*um.fita, um.depois))
