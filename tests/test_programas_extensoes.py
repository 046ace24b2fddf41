"""Os três programas como as pessoas os usam, com o que vai além do trabalho original."""

import csv
import io
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pseudoterminal import CTRL_C, CTRL_D, CTRL_U, ENTER, PRAZO, Conexao, NoTerminal, Programa, executa
from test_programas import (
    CONECTADO,
    EU,
    INGLES,
    LIVRE,
    NA_FILA,
    PROMPT,
    Cena,
    cena,
    conversa,
    fila,
    inicio,
)

__all__ = ["cena", "fila"]  # acessórios que os testes pedem pelo nome

DEPARTAMENTOS = ("--departamentos", "Vendas,Suporte")
OPCOES = "  1. Vendas\n  2. Suporte"
PERGUNTA = {
    "cliente.py": "Departamento (número ou nome): ",
    "atendente.py": "Departamentos (números ou nomes, com vírgulas; Enter para todos): ",
}
INVALIDO = "Departamento inválido: escolha entre Vendas, Suporte."
SEM_DEPARTAMENTOS = "Departamento inválido: este servidor não tem departamentos."

ONLINE = {"cliente.py": "Procurando um atendente...", "atendente.py": "Você está online e aguardando clientes."}
CHAT_ENCERRADO = "*** Chat encerrado. ***"
REGISTRADA = "(Esta conversa está sendo registrada.)"
TRANSFERIDO = "(Você foi transferido para Suporte.)"


@pytest.fixture
def loja(abrir_servidor: Callable, cena: Cena) -> Cena:
    """A cena com um servidor de dois departamentos no ar. Nesta ordem: primeiro saem os programas."""
    cena.porta = abrir_servidor(departamentos=DEPARTAMENTOS[1].split(",")).server_address[1]
    return cena


def marcas(servidor: Programa) -> list[tuple[str, str]]:
    """O que o servidor já contou: a marca de cada linha e o texto, sem a hora nem as portas."""
    linhas = re.findall(r"^\d\d:\d\d:\d\d \[([A-Z-]+)\] (.*)$", servidor.tela, re.MULTILINE)
    return [(marca, re.sub(r" de 127\.0\.0\.1:\d+", "", texto)) for marca, texto in linhas if marca != "SERVIDOR"]


# --- A pergunta do departamento -----------------------------------------------------------------


def test_cliente_escolhe_o_departamento(loja: Cena) -> None:
    """Valem o número e o nome, sem contar maiúsculas nem espaços, e é de lá o atendente que vem."""
    respostas = {"Yuri": ("2", "Suporte"), "Caio": (" VENDAS", "Vendas")}
    clientes = {nome: loja.terminal("cliente.py", "--nome", nome) for nome in respostas}
    for nome, (resposta, departamento) in respostas.items():
        cliente = clientes[nome]
        cliente.espera_tela(f"{OPCOES}\n{PERGUNTA['cliente.py']}")
        cliente.digita(resposta + ENTER)
        tela = f"{OPCOES}\n{PERGUNTA['cliente.py']}{resposta}\n{ONLINE['cliente.py']}\n{NA_FILA}\n"
        cliente.espera_tela(tela + PROMPT)
        loja.conecta(f"ATENDENTE:{departamento}", "Ana", ate=f"CONECTADO:{nome}\n")
        cliente.espera_tela(f"{tela}{CONECTADO.format('Ana')}\n{PROMPT}")


def test_atendente_escolhe_os_departamentos(loja: Cena) -> None:
    """Um, vários separados por vírgula, ou todos com Enter: só deles vêm clientes."""
    escolhas = {"2, vendas": ["Vendas", "Suporte"], "": ["Vendas", "Suporte"], "suporte": ["Suporte"]}
    atendentes = [loja.terminal("atendente.py", "--nome", "Ana") for _ in escolhas]
    for ana, (resposta, atendidos) in zip(atendentes, escolhas.items()):
        ana.espera_tela(f"{OPCOES}\n{PERGUNTA['atendente.py']}")
        ana.digita(resposta + ENTER)
        ana.espera_tela(f"{OPCOES}\n{PERGUNTA['atendente.py']}{resposta}\n{ONLINE['atendente.py']}\n{LIVRE}\n{PROMPT}")
        for departamento in ("Vendas", "Suporte"):
            if departamento not in atendidos:
                loja.conecta(f"CLIENTE:{departamento}", "Yuri", ate="FILA:1\n")
                continue
            with loja.conecta(f"CLIENTE:{departamento}", "Yuri", ate="CONECTADO:Ana\n"):
                ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
            ana.espera_no_fim(CHAT_ENCERRADO, LIVRE, PROMPT)
        ana.digita("/sair" + ENTER)
        ana.espera_fim()


def test_departamento_invalido_e_perguntado_de_novo(loja: Cena) -> None:
    """A pergunta se repete até a resposta servir, e diz o que serve."""
    erradas = {"cliente.py": ["3", "Nada", "1,2", ""], "atendente.py": ["0", "1, Nada", "1,,2", "-1"]}
    for programa, eu in {programa: loja.terminal(programa, "--nome", nome) for programa, nome in EU.items()}.items():
        tela = OPCOES + "\n"
        for errada in erradas[programa]:
            eu.espera_tela(tela + PERGUNTA[programa])
            eu.digita(errada + ENTER)
            tela += f"{PERGUNTA[programa]}{errada}\n{INVALIDO}\n"
        eu.espera_tela(tela + PERGUNTA[programa])
        eu.digita("1" + ENTER)
        eu.espera_na_tela(f"{INVALIDO}\n{PERGUNTA[programa]}1\n{ONLINE[programa]}\n")


def test_departamento_por_pipe(loja: Cena) -> None:
    """Depois do nome vem o departamento, e em branco são todos; o que não serve acaba em código 1."""
    recusados = [loja.por_pipe(programa, f"{nome}\nNada\n".encode()) for programa, nome in EU.items()]
    yuri = loja.por_pipe("cliente.py", "Yuri\n2\nOlá\n".encode())
    yuri.espera_na_tela("sua mensagem será entregue")
    ana = loja.por_pipe("atendente.py", "Ana\n\nOi!\n/encerrar\n".encode())
    fim = "*** Atendimento encerrado. {} encerrou a conversa. ***"
    assert yuri.espera_fim().splitlines() == [
        ONLINE["cliente.py"],
        NA_FILA,
        "(Você ainda está na fila; sua mensagem será entregue ao atendente.)",
        CONECTADO.format("Ana"),
        "[Ana]: Oi!",
        fim.format("O atendente Ana"),
        "*** Sessão encerrada. ***",
    ]
    esperado = [ONLINE["atendente.py"], CONECTADO.format("Yuri"), "[Yuri]: Olá", fim.format("Você"), CHAT_ENCERRADO]
    assert ana.espera_fim().splitlines()[:5] == esperado
    assert "\a" not in yuri.saida + ana.saida  # só um terminal toca
    for recusado in recusados:
        assert recusado.espera_fim(1) == f"{INVALIDO}\n"


def test_departamento_que_e_um_numero(cena: Cena) -> None:
    """O nome vale mais que o lugar na lista."""
    cena.servidor("--departamentos", "2,Vendas,1")
    respostas = {"1": "1", "2": "2"}
    clientes = [cena.terminal("cliente.py", "--nome", "Yuri") for _ in respostas]
    for yuri, (resposta, departamento) in zip(clientes, respostas.items()):
        yuri.espera_na_tela("  1. 2\n  2. Vendas\n  3. 1\nDepartamento (número ou nome):")
        yuri.digita(resposta + ENTER)
        yuri.espera_no_fim(NA_FILA, PROMPT)
        cena.conecta(f"ATENDENTE:{departamento}", "Ana", ate="CONECTADO:Yuri\n")


def test_desistir_na_pergunta_do_departamento(loja: Cena) -> None:
    """Ctrl+C e Ctrl+D na pergunta saem em paz, e quem não respondeu não chega à fila."""
    programas = [loja.terminal(programa, "--nome", nome) for programa, nome in EU.items()]
    for eu, tecla in zip(programas, (CTRL_C, CTRL_D)):
        eu.espera_na_tela("Departamento")
        eu.espera_que_durma()
        eu.digita(tecla)
        eu.espera_fim()
    loja.conecta("ATENDENTE:*", "Bia", ate="FILA:OK\n")


# --- A opção --departamento ---------------------------------------------------------------------


def test_opcao_departamento(loja: Cena) -> None:
    """Com a opção não há pergunta; o que o servidor não tem ele recusa antes de perguntar o nome."""
    pedidos = {"cliente.py": "Vendas,Suporte", "atendente.py": "Vendas,Nada"}
    recusados = [loja.terminal(programa, "--departamento", pedido) for programa, pedido in pedidos.items()]
    yuri = loja.terminal("cliente.py", "--nome", "Yuri", "--departamento", "suporte")
    yuri.espera_tela(f"{ONLINE['cliente.py']}\n{NA_FILA}\n{PROMPT}")
    bia = loja.terminal("atendente.py", "--nome", "Bia", "--departamento", "Vendas")
    bia.espera_tela(f"{ONLINE['atendente.py']}\n{LIVRE}\n{PROMPT}")
    ana = loja.terminal("atendente.py", "--nome", "Ana", "--departamento", "vendas, SUPORTE")
    ana.espera_tela(f"{inicio('atendente.py')}\n{PROMPT}")
    yuri.espera_no_fim(NA_FILA, CONECTADO.format("Ana"), PROMPT)
    for recusado in recusados:
        assert recusado.espera_fim(1) == f"*** {INVALIDO} ***"


def test_opcao_departamento_onde_nao_os_ha(fila: Cena) -> None:
    """Um servidor sem departamentos recusa quem traz um, com uma frase e código 1."""
    assert fila.terminal("atendente.py", "--departamento", "*").espera_fim(1) == f"*** {SEM_DEPARTAMENTOS} ***"


# --- JSON ---------------------------------------------------------------------------------------


def test_conversa_em_json(cena: Cena) -> None:
    """O cliente fala JSON, o atendente, texto, e a sessão que se lê é a de sempre, com as perguntas e tudo."""
    cena.servidor(*DEPARTAMENTOS, "--senha-atendentes", "segredo")
    yuri, ana = cena.terminal("cliente.py", "--json"), cena.terminal("atendente.py")
    yuri.espera_tela("Digite seu nome:")
    yuri.digita("Yuri" + ENTER)
    yuri.espera_na_tela(PERGUNTA["cliente.py"].strip())
    yuri.digita("2" + ENTER)
    tela_de_yuri = f"Digite seu nome: Yuri\n{OPCOES}\n{PERGUNTA['cliente.py']}2\n{ONLINE['cliente.py']}\n{NA_FILA}\n"
    yuri.espera_tela(tela_de_yuri + PROMPT)

    ana.espera_tela("Senha dos atendentes:")
    ana.digita("segredo" + ENTER)
    ana.espera_na_tela("Digite seu nome de atendente:")
    ana.digita("Ana" + ENTER)
    ana.espera_na_tela("Enter para todos")
    ana.digita(ENTER)
    perguntas = f"Senha dos atendentes:\nDigite seu nome de atendente: Ana\n{OPCOES}\n{PERGUNTA['atendente.py']}\n"
    tela_de_ana = f"{perguntas}{inicio('atendente.py')}\n"
    tela_de_yuri += CONECTADO.format("Ana") + "\n"
    ana.espera_tela(tela_de_ana + PROMPT)
    yuri.espera_tela(tela_de_yuri + PROMPT)

    dito = r'Está em "C:\temp\n" {mesmo}: é [lá] 😀'
    yuri.digita(dito + ENTER)
    tela_de_ana += f"[Yuri]: {dito}\n"
    ana.espera_tela(tela_de_ana + PROMPT)
    ana.digita(dito + ENTER)
    yuri.espera_tela(f"{tela_de_yuri}{PROMPT}{dito}\n[Ana]: {dito}\n{PROMPT}")

    ana.digita("/encerrar" + ENTER)
    assert yuri.espera_fim().endswith("O atendente Ana encerrou a conversa. ***\n*** Sessão encerrada. ***")
    ana.espera_no_fim("*** Atendimento encerrado. Você encerrou a conversa. ***", CHAT_ENCERRADO, LIVRE, PROMPT)


def test_json_no_fio(cena: Cena) -> None:
    """Tudo o que o programa manda é um objeto por linha."""
    ouvinte = cena.impostor()
    ana = cena.terminal("atendente.py", "--json", "--nome", "Ana", "--departamento", "Vendas,Suporte")
    impostor = cena.aceita(ouvinte)
    impostor.envia('{"comando":"senha"}\n{"comando":"nome"}')
    ana.espera_na_tela("Senha dos atendentes:")
    ana.digita("segredo" + ENTER)
    impostor.envia('{"comando":"fila","posicao":null}\n{"comando":"conectado","nome":"Yuri"}')
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    for digitado in ('Olá, "Yuri" \\', "/fila", "/pausa", "/volta", "/transferir  Suporte ", "//fila", "/encerrar"):
        ana.digita(digitado + ENTER)
        ana.espera_no_fim(PROMPT + digitado, PROMPT)
    esperado = [
        {"comando": "atendente", "departamento": "Vendas,Suporte"},
        {"comando": "senha", "senha": "segredo"},
        {"comando": "nome", "nome": "Ana"},
        {"comando": "mensagem", "texto": 'Olá, "Yuri" \\'},
        {"comando": "fila"},
        {"comando": "pausa"},
        {"comando": "volta"},
        {"comando": "transferir", "departamento": "Suporte"},
        {"comando": "mensagem", "texto": "/fila"},
        {"comando": "fim"},
    ]
    objetos = [json.loads(linha) for linha in impostor.espera_na_tela('{"comando":"fim"').splitlines()]
    # Chaves a mais são permitidas: só se conferem as que o protocolo pede.
    assert [{chave: objeto[chave] for chave in pedido} for objeto, pedido in zip(objetos, esperado)] == esperado
    assert len(objetos) == len(esperado)


def test_mensagem_que_cresce_em_json(fila: Cena) -> None:
    """O que cabe na linha de texto chega inteiro a quem fala JSON; o que em JSON não cabe, ele sabe que não foi."""
    ana = fila.conecta("ATENDENTE", "Ana")
    yuri = fila.terminal("cliente.py", "--json", "--nome", "Yuri")
    yuri.espera_tela(f"{inicio()}\n{PROMPT}")
    escapes = '"\\' * 2000
    ana.envia(escapes)
    tela = f"{inicio()}\n[Ana]: {escapes}\n"
    yuri.espera_tela(tela + PROMPT)
    yuri.digita(escapes + ENTER)
    tela += f"{PROMPT}{escapes}\n(Mensagem longa demais (máximo de 4096 bytes); não foi enviada.)\n"
    yuri.espera_tela(tela + PROMPT)
    yuri.digita("depois" + ENTER)
    assert ana.espera_na_tela("depois\n").endswith("CONECTADO:Yuri\n[Yuri]: depois\n")


def test_servidor_hostil_em_json(cena: Cena) -> None:
    """O programa mostra o que entende, limpo, e ignora o resto."""
    ouvinte = cena.impostor()
    yuri = cena.terminal("cliente.py", "--json", "--nome", "Yuri")
    hostil = cena.aceita(ouvinte)
    for linha in [
        "NOME:",
        '{"comando":"nome","nome":[]}',
        '{"comando":"fila","posicao":-1}',
        '{"comando":"fila","posicao":true}',
        '{"comando":"fila","posicao":' + "9" * 5000 + "}",
        "[" * 20_000,
        '{"comando":"conectado","nome":null}',
        '{"comando":"conectado","nome":"\\u001b[31mAna\\u202e"}',
        '{"comando":"mensagem","nome":"Ana"}',
        '{"comando":"mensagem","nome":"Ana","texto":"\\u001b]0;titulo\\u0007\\ud800Oi\\n\\t\\ud83d\\ude00"}',
        '{"comando":"aviso","mensagem":"\\b\\bquase","sobra":{}}',
        '{"comando":["fim"]}',
        '{"comando":"fim","mensagem":"Acabou."}',
    ]:
        hostil.envia(linha)
    assert yuri.espera_fim().split("\n") == [
        ONLINE["cliente.py"],
        CONECTADO.format("[31mAna"),
        "[Ana]: ]0;titulo\ufffdOi 😀",
        "(quase)",
        "*** Acabou. ***",
        "*** Sessão encerrada. ***",
    ]


# --- /fila, /pausa e /volta ---------------------------------------------------------------------


def test_fila(loja: Cena) -> None:
    """Quem espera sabe o seu lugar; quem atende, quem o espera; só conta o departamento de cada um."""
    loja.conecta("CLIENTE:Vendas", "Davi", ate="FILA:1\n")
    yuri = loja.terminal("cliente.py", "--nome", "Yuri", "--departamento", "Suporte")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    bia = loja.conecta("CLIENTE:Suporte", "Bia", ate="FILA:2\n")
    yuri.digita("/fila" + ENTER)
    yuri.espera_no_fim("(Você é o número 1 de 2 na fila; atendentes online: 0.)", PROMPT)

    ana = loja.terminal("atendente.py", "--nome", "Ana", "--departamento", "Suporte")
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    ana.digita("/fila" + ENTER)
    ana.espera_no_fim(PROMPT + "/fila", "(Clientes na fila: 1 (Bia).)", PROMPT)
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    yuri.digita("/fila" + ENTER)
    yuri.espera_no_fim(PROMPT + "/fila", "(Você já está sendo atendido.)", PROMPT)
    bia.envia("FIM:")
    bia.espera_na_tela("FIM:Você saiu da fila.\n")
    ana.digita("/fila" + ENTER)
    ana.espera_no_fim(PROMPT + "/fila", "(Nenhum cliente na fila.)", PROMPT)


def test_fila_estima_a_espera(fila: Cena) -> None:
    """Depois do primeiro atendimento há como estimar a espera."""
    with fila.conecta("ATENDENTE", "Ana") as ana:
        fila.conecta("CLIENTE", "Bia", ate="CONECTADO:Ana\n")
        ana.envia("FIM:")
        ana.espera_na_tela("Você encerrou a conversa.\nFILA:OK\n")
        fila.conecta("CLIENTE", "Caio", ate="CONECTADO:Ana\n")
        yuri = fila.terminal("cliente.py", "--nome", "Yuri", colunas=100)
        yuri.espera_no_fim(NA_FILA, PROMPT)
        yuri.digita("/fila" + ENTER)
        resposta = "(Você é o número 1 de 1 na fila; atendentes online: 1; espera estimada: menos de 1 min.)"
        yuri.espera_no_fim(PROMPT + "/fila", resposta, PROMPT)


def test_pausa_de_quem_esta_livre(cena: Cena) -> None:
    """Em pausa não vêm clientes; quem volta recebe o que esperava; o servidor conta as duas coisas."""
    servidor = cena.servidor()
    ana = cena.terminal("atendente.py", "--nome", "Ana")
    ana.espera_no_fim(LIVRE, PROMPT)
    tela = f"{ONLINE['atendente.py']}\n{LIVRE}\n"
    for digitado, dito in [
        ("/volta", "(Você não está em pausa.)"),
        ("/pausa", "(Você está em pausa.)"),
        ("/pausa", "(Você já está em pausa.)"),
        ("Olá?", "(Nenhum cliente conectado; a mensagem não foi enviada.)"),
    ]:
        ana.digita(digitado + ENTER)
        tela += f"{PROMPT}{digitado}\n{dito}\n"
        ana.espera_tela(tela + PROMPT)
    cena.conecta("CLIENTE", "Yuri", ate="FILA:1\n")
    ana.digita("/fila" + ENTER)
    tela += f"{PROMPT}/fila\n(Clientes na fila: 1 (Yuri).)\n"
    ana.espera_tela(tela + PROMPT)
    ana.digita("/volta" + ENTER)
    ana.espera_tela(f"{tela}{PROMPT}/volta\n{CONECTADO.format('Yuri')}\n{PROMPT}")
    servidor.espera_na_tela("[MATCHMAKER]")
    assert marcas(servidor) == [
        ("CONNECT", "Ana (ATENDENTE) conectou."),
        ("PAUSA", "Ana (ATENDENTE) está em pausa."),
        ("CONNECT", "Yuri (CLIENTE) conectou."),
        ("RE-QUEUE", "Ana (ATENDENTE) voltou da pausa."),
        ("MATCHMAKER", "Par formado: Yuri (CLIENTE) com Ana (ATENDENTE)."),
    ]


def test_pausa_no_meio_da_conversa(fila: Cena) -> None:
    """A pausa espera o fim da conversa, pode ser cancelada antes, e não toca na linha que se digita."""
    yuri, ana = conversa(fila, "atendente.py")
    for digitado, dito in [
        ("/pausa", "(Você ficará em pausa depois desta conversa.)"),
        ("/volta", "(Pausa cancelada.)"),
        ("/volta", "(Você não está em pausa.)"),
        ("/pausa", "(Você ficará em pausa depois desta conversa.)"),
    ]:
        ana.digita(digitado + ENTER)
        ana.espera_no_fim(PROMPT + digitado, dito, PROMPT)
    yuri.envia("Ainda aí?")
    ana.digita("Só um")
    ana.espera_no_fim("[Yuri]: Ainda aí?", PROMPT + "Só um")
    yuri.envia("FIM:")
    fim = "*** Atendimento encerrado. O cliente Yuri encerrou a conversa. ***"
    ana.espera_no_fim(fim, CHAT_ENCERRADO, "(Você está em pausa.)", PROMPT + "Só um")
    fila.conecta("CLIENTE", "Bia", ate="FILA:1\n")
    ana.digita(CTRL_U + "/volta" + ENTER)
    ana.espera_no_fim(CONECTADO.format("Bia"), PROMPT)


# --- /transferir --------------------------------------------------------------------------------


def test_transferir(cena: Cena) -> None:
    """O cliente sabe que foi transferido, segue digitando e fala com o outro; o atendente fica livre."""
    servidor = cena.servidor(*DEPARTAMENTOS)
    ana = cena.terminal("atendente.py", "--nome", "Ana", "--departamento", "Vendas")
    ana.espera_no_fim(LIVRE, PROMPT)
    yuri = cena.terminal("cliente.py", "--nome", "Yuri", "--departamento", "Vendas")
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    cena.conecta("CLIENTE:Suporte", "Caio", ate="FILA:1\n")
    yuri.digita("Bom dia, é que")
    yuri.espera_no_fim(PROMPT + "Bom dia, é que")
    ana.digita("/transferir suporte" + ENTER)
    fim = "*** Atendimento encerrado. O cliente Yuri foi transferido para Suporte. ***"
    ana.espera_no_fim(PROMPT + "/transferir suporte", fim, CHAT_ENCERRADO, LIVRE, PROMPT)
    yuri.espera_tela(f"{inicio()}\n{TRANSFERIDO}\n{NA_FILA}\n{PROMPT}Bom dia, é que")

    bia = cena.conecta("ATENDENTE:Suporte", "Bia", ate="CONECTADO:Yuri\n")
    yuri.espera_no_fim(NA_FILA, CONECTADO.format("Bia"), PROMPT + "Bom dia, é que")
    yuri.digita(" caiu." + ENTER)
    bia.espera_na_tela("[Yuri]: Bom dia, é que caiu.\n")
    servidor.espera_na_tela("com Bia")
    assert marcas(servidor)[-3:] == [
        ("RE-QUEUE", "Yuri (CLIENTE) transferido para Suporte por Ana (ATENDENTE)."),
        ("CONNECT", "Bia (ATENDENTE) conectou para Suporte."),
        ("MATCHMAKER", "Par formado: Yuri (CLIENTE) com Bia (ATENDENTE) em Suporte."),
    ]


def test_transferencia_que_nao_serve(loja: Cena) -> None:
    """Sem conversa, sem nome, para onde não há ou para onde já se está: uma frase, e nada muda."""
    ana = loja.terminal("atendente.py", "--nome", "Ana", "--departamento", "Vendas")
    ana.espera_no_fim(LIVRE, PROMPT)
    ana.digita("/transferir Suporte" + ENTER)
    ana.espera_no_fim("(Nenhum cliente conectado para transferir.)", PROMPT)
    yuri = loja.conecta("CLIENTE:Vendas", "Yuri", ate="CONECTADO:Ana\n")
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    for digitado, dito in [
        ("/transferir", "(Diga para onde: /transferir Suporte)"),
        ("/transferir Nada", f"({INVALIDO})"),
        ("/transferir Vendas,Suporte", f"({INVALIDO})"),
        ("/transferir vendas", "(O cliente Yuri já está em Vendas.)"),
    ]:
        ana.digita(digitado + ENTER)
        ana.espera_no_fim(PROMPT + digitado, dito, PROMPT)
    ana.digita("Seguimos" + ENTER)
    assert yuri.espera_na_tela("Seguimos\n").endswith("CONECTADO:Ana\n[Ana]: Seguimos\n")


# --- /ajuda, e o que não é de quem digita -------------------------------------------------------


def test_cada_um_tem_os_seus_comandos(fila: Cena) -> None:
    """`/ajuda` só mostra os de quem digita, e os do atendente o programa do cliente nem manda."""
    ana = fila.terminal("atendente.py", "--nome", "Ana")
    ana.espera_no_fim(LIVRE, PROMPT)
    yuri = fila.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    for eu, do_atendente in [(yuri, []), (ana, ["/pausa", "/volta", "/transferir"])]:
        eu.digita("/ajuda" + ENTER)
        eu.espera_no_fim("  //texto      envia um texto que começa por /", PROMPT)
        comandos = re.findall(r"^  (//?\w+) ", eu.tela, re.MULTILINE)
        assert comandos == ["/fila", "/encerrar", *do_atendente, "/ajuda", "/sair", "//texto"]
    for digitado in ("/pausa", "/volta", "/transferir Suporte"):
        yuri.digita(digitado + ENTER)
        dica = f"Comando desconhecido: {digitado.split()[0]} (veja /ajuda; // envia um texto com /)."
        yuri.espera_no_fim(PROMPT + digitado, dica, PROMPT)
    ana.digita("/transferir Suporte" + ENTER)
    ana.espera_no_fim(PROMPT + "/transferir Suporte", f"({SEM_DEPARTAMENTOS})", PROMPT)
    yuri.digita("depois" + ENTER)
    ana.espera_no_fim(f"({SEM_DEPARTAMENTOS})", "[Yuri]: depois", PROMPT)
    yuri.espera_no_fim(dica, PROMPT + "depois", PROMPT)


# --- O toque ------------------------------------------------------------------------------------


def test_toque(loja: Cena) -> None:
    """O terminal toca uma vez por par formado: nem na fila, nem com mensagens, avisos, transferência ou fim."""
    yuri = loja.terminal("cliente.py", "--nome", "Yuri", "--departamento", "Vendas")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    yuri.digita("/fila" + ENTER)
    yuri.espera_no_fim("(Você é o número 1 de 1 na fila; atendentes online: 0.)", PROMPT)
    assert yuri.saida.count("\a") == 0
    ana = loja.terminal("atendente.py", "--nome", "Ana", "--departamento", "Vendas")
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    ana.digita("Oi!" + ENTER)
    yuri.espera_no_fim(CONECTADO.format("Ana"), "[Ana]: Oi!", PROMPT)
    yuri.digita("Olá!" + ENTER)
    ana.espera_no_fim("[Yuri]: Olá!", PROMPT)
    ana.digita("/transferir Suporte" + ENTER)
    yuri.espera_no_fim(TRANSFERIDO, NA_FILA, PROMPT)
    ana.espera_no_fim(CHAT_ENCERRADO, LIVRE, PROMPT)
    assert (yuri.saida.count("\a"), ana.saida.count("\a")) == (1, 1)
    loja.conecta("CLIENTE:Vendas", "Caio", ate="CONECTADO:Ana\n")
    ana.espera_no_fim(CONECTADO.format("Caio"), PROMPT)
    bia = loja.conecta("ATENDENTE:Suporte", "Bia", ate="CONECTADO:Yuri\n")
    bia.envia("FIM:")
    yuri.espera_fim()
    assert (yuri.saida.count("\a"), ana.saida.count("\a")) == (2, 2)


def test_sem_som(fila: Cena) -> None:
    """Com `--sem-som` nada toca."""
    ana = fila.terminal("atendente.py", "--nome", "Ana", "--sem-som")
    ana.espera_no_fim(LIVRE, PROMPT)
    yuri = fila.terminal("cliente.py", "--nome", "Yuri", "--sem-som")
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    assert "\a" not in yuri.saida + ana.saida


# --- O atendente cai ----------------------------------------------------------------------------


def test_devolver_a_fila(cena: Cena) -> None:
    """O cliente volta à frente da fila com a sua meia linha, e outro o atende."""
    servidor = cena.servidor("--devolver-a-fila")
    ana = cena.terminal("atendente.py", "--nome", "Ana")
    ana.espera_no_fim(LIVRE, PROMPT)
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    caio = cena.conecta("CLIENTE", "Caio", ate="FILA:1\n")
    yuri.digita("Bom dia, é que")
    yuri.espera_no_fim(PROMPT + "Bom dia, é que")
    ana.espera_que_durma()
    ana.digita(CTRL_C)
    ana.espera_fim()
    aviso = "(O atendente Ana desconectou. Você voltou para o início da fila.)"
    yuri.espera_tela(f"{inicio()}\n{aviso}\n{NA_FILA}\n{PROMPT}Bom dia, é que")
    caio.espera_na_tela("FILA:2\n")

    bia = cena.terminal("atendente.py", "--nome", "Bia")
    bia.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    yuri.espera_no_fim(NA_FILA, CONECTADO.format("Bia"), PROMPT + "Bom dia, é que")
    yuri.digita(" caiu." + ENTER)
    bia.espera_no_fim("[Yuri]: Bom dia, é que caiu.", PROMPT)
    servidor.espera_na_tela("com Bia")
    assert marcas(servidor)[-4:] == [
        ("DISCONNECT", "Ana (ATENDENTE) desconectou."),
        ("RE-QUEUE", "Yuri (CLIENTE) de volta à fila: o atendente caiu."),
        ("CONNECT", "Bia (ATENDENTE) conectou."),
        ("MATCHMAKER", "Par formado: Yuri (CLIENTE) com Bia (ATENDENTE)."),
    ]
    # Encerrar não é cair: o fim que o atendente quis é fim também para o cliente.
    bia.digita("/encerrar" + ENTER)
    assert "O atendente Bia encerrou a conversa." in yuri.espera_fim()
    bia.espera_no_fim(CONECTADO.format("Caio"), PROMPT)


# --- O registro ---------------------------------------------------------------------------------


def ler(caminho: Path) -> list[list[str]]:
    """As linhas do registro, sem o cabeçalho: a conversa e o que vem depois dela."""
    with caminho.open(encoding="utf-8", newline="") as arquivo:
        cabecalho, *linhas = csv.reader(arquivo, strict=True)
    assert ",".join(cabecalho) == "momento,conversa,departamento,evento,de,para,texto"
    return [linha[1:] for linha in linhas]


def test_registro_ao_encerrar_o_servidor(cena: Cena, tmp_path: Path) -> None:
    """Os dois sabem que a conversa é registrada, e depois do Ctrl+C não falta nada dela."""
    caminho = tmp_path / "conversas.csv"
    servidor = cena.servidor(*DEPARTAMENTOS, "--registro", str(caminho), classe=NoTerminal)
    yuri = cena.terminal("cliente.py", "--nome", "Yuri", "--departamento", "Suporte")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    ana = cena.terminal("atendente.py", "--json", "--nome", "Ana", "--departamento", "Suporte")
    ana.espera_no_fim(CONECTADO.format("Yuri"), REGISTRADA, PROMPT)
    yuri.espera_no_fim(CONECTADO.format("Ana"), REGISTRADA, PROMPT)
    yuri.digita('"Olá", disse ele' + ENTER)
    ana.espera_no_fim('[Yuri]: "Olá", disse ele', PROMPT)
    ana.digita("=1+1" + ENTER)
    yuri.espera_no_fim("[Ana]: =1+1", PROMPT)
    servidor.digita(CTRL_C)
    servidor.espera_fim()
    for programa in (yuri, ana):
        assert "*** Servidor encerrado. ***" in programa.espera_fim()
    linhas = ler(caminho)
    assert len({conversa for conversa, *_ in linhas}) == 1
    assert [linha[1:] for linha in linhas] == [
        ["Suporte", "inicio", "Yuri", "Ana", ""],
        ["Suporte", "mensagem", "Yuri", "Ana", '"Olá", disse ele'],
        ["Suporte", "mensagem", "Ana", "Yuri", "'=1+1"],
        ["Suporte", "fim", "", "", "Servidor encerrado."],
    ]


def test_registro_depois_de_um_servidor_morto(cena: Cena, tmp_path: Path) -> None:
    """O servidor seguinte continua o arquivo, com a última linha pela metade, e no SIGTERM não falta nada."""
    caminho = tmp_path / "conversas.csv"
    servidor = cena.servidor("--registro", str(caminho))
    _, yuri = conversa_registrada(cena, "Primeira, inteira", 'Segunda, "cortada"')
    espera_no_arquivo(caminho, b'"Segunda, ""cortada"""\n')
    servidor.processo.kill()
    assert "*** Desconectado do servidor. ***" in yuri.espera_fim()
    os.truncate(caminho, caminho.stat().st_size - len('tada"""\n'))

    servidor = cena.servidor("--registro", str(caminho))
    ana, yuri = conversa_registrada(cena, "Terceira")
    servidor.processo.terminate()
    with ana:  # quem se despede é o servidor; quem fecha, cada um
        ana.espera_na_tela("FIM:Servidor encerrado.\n")
    assert "*** Servidor encerrado. ***" in yuri.espera_fim()
    servidor.espera_fim()
    linhas = ler(caminho)
    assert len({conversa for conversa, *_ in linhas}) == 2
    assert [(evento, texto) for _, _, evento, _, _, texto in linhas] == [
        ("inicio", ""),
        ("mensagem", "Primeira, inteira"),
        ("mensagem", 'Segunda, "cor'),
        ("inicio", ""),
        ("mensagem", "Terceira"),
        ("fim", "Servidor encerrado."),
    ]


def conversa_registrada(cena: Cena, *ditos: str) -> tuple[Conexao, NoTerminal]:
    """Uma atendente, de `nc`, e um cliente num terminal, que já leu o que ela disse."""
    ana = cena.conecta("ATENDENTE", "Ana")
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(CONECTADO.format("Ana"), REGISTRADA, PROMPT)
    for dito in ditos:
        ana.envia(dito)
        yuri.espera_no_fim(f"[Ana]: {dito}", PROMPT)
    return ana, yuri


def espera_no_arquivo(caminho: Path, fim: bytes) -> None:
    """Espera que o arquivo acabe por `fim`: um arquivo não avisa que cresceu, só relendo se sabe."""
    limite = time.monotonic() + PRAZO
    while not (dados := caminho.read_bytes()).endswith(fim):
        assert time.monotonic() < limite, dados.decode()


def test_registro_que_ainda_grava_ao_encerrar(cena: Cena, tmp_path: Path) -> None:
    """O servidor só termina depois de gravar tudo: aqui, num cano que ninguém lia até então."""
    cano = tmp_path / "cano"
    os.mkfifo(cano)
    servidor = cena.servidor("--registro", str(cano))
    with open(os.open(cano, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as leitor:
        os.set_blocking(leitor.fileno(), True)
        ana = cena.conecta("ATENDENTE", "Ana")
        yuri = cena.conecta("CLIENTE", "Yuri", ate="CONECTADO:Ana\n")
        yuri.envia("".join(f"mensagem {numero}\n" for numero in range(2000)).encode())
        ana.espera_na_tela("mensagem 1999\n")
        servidor.processo.terminate()
        for conexao in (ana, yuri):
            with conexao:
                conexao.espera_na_tela("FIM:Servidor encerrado.\n")
        registrado = leitor.readall().decode()
    servidor.espera_fim()
    textos = [linha[-1] for linha in csv.reader(io.StringIO(registrado))][1:]
    assert textos == ["", *(f"mensagem {numero}" for numero in range(2000)), "Servidor encerrado."]


def test_registro_impossivel(tmp_path: Path) -> None:
    """O servidor que não pode registrar não sobe: diz o motivo, com código 1."""
    for caminho, motivo in [(tmp_path / "nenhuma" / "x.csv", "a pasta não existe"), (tmp_path, "é uma pasta")]:
        servidor = executa("servidor.py", "--host", "127.0.0.1", "--porta", "0", "--registro", str(caminho))
        assert (servidor.returncode, servidor.stdout) == (1, "")
        assert servidor.stderr == f"Não foi possível gravar em {caminho}: {motivo}.\n"


# --- O turno ------------------------------------------------------------------------------------


def test_resumo_do_turno(cena: Cena) -> None:
    """Ao encerrar, o servidor conta o turno de cada departamento."""
    servidor = cena.servidor("--departamentos", "Vendas,Suporte,Pós-venda")
    ana = cena.conecta("ATENDENTE:*", "Ana", ate="FILA:OK\n")
    bia = cena.conecta("CLIENTE:Vendas", "Bia", ate="CONECTADO:Ana\n")
    caio = cena.conecta("CLIENTE:Suporte", "Caio", ate="FILA:1\n")
    caio.envia("FIM:")
    caio.espera_na_tela("FIM:Você saiu da fila.\n")
    caio.sock.close()
    ana.envia("FIM:")
    bia.espera_na_tela("FIM:Atendimento encerrado.")
    bia.sock.close()
    ana.espera_na_tela("CONECTADO:Bia\nFIM:Atendimento encerrado. Você encerrou a conversa.\nFILA:OK\n")
    davi = cena.conecta("CLIENTE:Vendas", "Davi", ate="CONECTADO:Ana\n")
    servidor.processo.terminate()
    for conexao in (ana, davi):
        with conexao:  # quem se despede é o servidor; quem fecha, cada um
            conexao.espera_na_tela("FIM:Servidor encerrado.\n")
    servidor.espera_fim()
    tempos = "espera média N s, máxima N s; duração média N s"
    assert [(marca, re.sub(r"\d+ s\b", "N s", texto)) for marca, texto in marcas(servidor) if marca == "TURNO"] == [
        ("TURNO", f"Vendas: 2 atendimentos, 0 desistências na fila; {tempos}."),
        ("TURNO", "Suporte: 0 atendimentos, 1 desistência na fila."),
        ("TURNO", "Pós-venda: 0 atendimentos, 0 desistências na fila."),
    ]


# --- A linha de comando -------------------------------------------------------------------------

AJUDA = {
    "servidor.py": ["--departamentos VALOR", "--devolver-a-fila", "--registro VALOR"],
    "cliente.py": ["--departamento VALOR", "--json", "--sem-som"],
    "atendente.py": ["--departamento VALOR", "--json", "--sem-som"],
}


@pytest.fixture
def diz(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable:
    """Digita uma linha de comando que não chega a abrir nada: o código, a saída e os erros.

    A porta que não serve é lida depois das opções: se elas fossem aceitas, o erro seria o dela.
    """

    def digitar(programa: str, *opcoes: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [programa, *opcoes, "--porta", "nenhuma"])
        with pytest.raises(SystemExit) as fim:
            importlib.import_module(programa.removesuffix(".py")).main()
        return fim.value.code, *capsys.readouterr()

    return digitar


@pytest.mark.parametrize("programa", AJUDA, ids=["servidor", "cliente", "atendente"])
def test_ajuda_das_opcoes(diz: Callable, programa: str) -> None:
    """A ajuda diz em português o que faz cada opção nova."""
    codigo, ajuda, erros = diz(programa, "--ajuda")
    assert (codigo, erros) == (0, "")
    for opcao in AJUDA[programa]:
        assert re.search(rf"^  {opcao}\s+\w+ \w+", ajuda, re.MULTILINE), ajuda
    assert not INGLES.search(ajuda)


NAO_SERVE = "o departamento {!r} não serve: use de 1 a 40 caracteres, sem : [ ] *"


@pytest.mark.parametrize(
    ("opcoes", "erro"),
    [
        (["servidor.py", "--departamentos", "Vendas,vENDAS"], "há um departamento repetido"),
        (["servidor.py", "--departamentos", "a:b"], NAO_SERVE.format("a:b")),
        (["servidor.py", "--departamentos", "Vendas,,Suporte"], "há um nome vazio na lista"),
        (["servidor.py", "--departamentos", ""], "há um nome vazio na lista"),
        (["servidor.py", "--departamentos", "x" * 41], NAO_SERVE.format("x" * 41)),
        (
            ["servidor.py", "--departamentos", ",".join(f"{n:040}" for n in range(100))],
            "a lista de departamentos não cabe numa linha de 4096 bytes",
        ),
        (["servidor.py", "--registro"], "a opção --registro precisa de um valor"),
        (["servidor.py", "--registro", ""], "--registro: diga o nome do arquivo"),
        (["cliente.py", "--departamento", ""], "--departamento: diga o nome de um departamento"),
        (["cliente.py", "--json=sim"], "a opção --json não recebe valor"),
        (["atendente.py", "--departamento", "  "], "--departamento: diga o nome de um departamento"),
    ],
    ids=[
        "repetido",
        "com dois-pontos",
        "um sem nome",
        "nenhum",
        "longo",
        "lista que não cabe",
        "registro sem valor",
        "registro vazio",
        "cliente sem departamento",
        "json com valor",
        "atendente sem departamento",
    ],
)
def test_uso_errado_das_opcoes(diz: Callable, opcoes: list[str], erro: str) -> None:
    """O erro de quem digitou é dito em português, em stderr, com código 2."""
    codigo, saida, erros = diz(*opcoes)
    assert (codigo, saida) == (2, "")
    assert erros.startswith(f"{opcoes[0]}: ") and erro in erros
    assert erros.endswith("\nUse --ajuda para ver as opções.\n") and not INGLES.search(erros)
